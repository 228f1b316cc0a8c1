"""Conversion of sources to TFRecord datasets, and of datasets to other formats."""

from tfface import needs_tensorflow  # noqa: F401
