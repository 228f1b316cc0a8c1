"""Notices of TensorFlow's Python while it writes a file: they name temporary folders."""

import contextlib
import logging
from collections.abc import Iterator

import tensorflow as tf


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Context manager in which TensorFlow logs warnings and errors only; an interactive session would print notices."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel(max(level, logging.WARNING))
    try:
        yield
    finally:
        logger.setLevel(level)
