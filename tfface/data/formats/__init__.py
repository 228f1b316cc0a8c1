"""Readers and writers of file formats; they do not need TensorFlow."""
