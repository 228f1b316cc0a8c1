"""Export of encoders for serving, and embeddings from encoders and exports."""

from tfface import needs_tensorflow  # noqa: F401
from tfface.export.card import read_facts, read_threshold, write_card
from tfface.export.check import Agreement, check_export
from tfface.export.embedding.embedder import Embedder, Embeddings, embed_dataset, encoder_embedder
from tfface.export.embedding.files import load_embeddings, save_embeddings
from tfface.export.embedding.resumable import embed_resumably
from tfface.export.flip import with_mirror
from tfface.export.formats.loading import is_export, load_embedder
from tfface.export.formats.onnx import onnx
from tfface.export.formats.saved_model import saved_model
from tfface.export.formats.tflite import tflite
from tfface.export.serving_config import served_name, write_serving_config
from tfface.export.warmup import WARMUP_FILE

__all__ = [
    "WARMUP_FILE",
    "Agreement",
    "Embedder",
    "Embeddings",
    "check_export",
    "embed_dataset",
    "embed_resumably",
    "encoder_embedder",
    "is_export",
    "load_embedder",
    "load_embeddings",
    "onnx",
    "read_facts",
    "read_threshold",
    "save_embeddings",
    "saved_model",
    "served_name",
    "tflite",
    "with_mirror",
    "write_card",
    "write_serving_config",
]
