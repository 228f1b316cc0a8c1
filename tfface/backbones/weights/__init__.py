"""Weights of other libraries: InsightFace's state dicts and ONNX files."""
