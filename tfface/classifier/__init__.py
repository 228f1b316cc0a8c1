"""The partitioned classifier: losses over all classes, in chunks, on samples, on several replicas."""

from tfface import needs_tensorflow  # noqa: F401
