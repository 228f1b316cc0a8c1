"""Replicas and their devices: strategies, collective operations, partitioned variables, and whether XLA compiles."""

from tfface import needs_tensorflow  # noqa: F401
