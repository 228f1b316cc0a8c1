"""Replicas: strategies, collective operations, and variables of which each replica holds a part."""

from tfface import needs_tensorflow  # noqa: F401
