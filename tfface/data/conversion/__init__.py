"""Conversion of sources to datasets of TFRecord shards, and back."""

from tfface import needs_tensorflow  # noqa: F401
