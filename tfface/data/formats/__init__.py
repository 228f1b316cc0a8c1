"""File formats, read and written without TensorFlow."""
