"""Export: what leaves the library for serving, and embeddings from what was exported."""

from tfface.export.embedding import Embedder, Embeddings, embed_dataset, encoder_embedder
from tfface.export.embedding_files import load_embeddings, save_embeddings
from tfface.export.loading import is_export, load_embedder
from tfface.export.onnx import onnx
from tfface.export.resumable import embed_resumably
from tfface.export.saved_model import saved_model
from tfface.export.tflite import tflite

__all__ = [
    "Embedder",
    "Embeddings",
    "embed_dataset",
    "embed_resumably",
    "encoder_embedder",
    "is_export",
    "load_embedder",
    "load_embeddings",
    "onnx",
    "save_embeddings",
    "saved_model",
    "tflite",
]
