"""Replicas: strategies, collective operations, and variables partitioned among the replicas."""

from tfface import needs_tensorflow  # noqa: F401
