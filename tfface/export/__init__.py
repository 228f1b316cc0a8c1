"""Export: what leaves the library for serving, and embeddings from what was exported."""

from tfface.export.embedding import Embedder, Embeddings, embed_dataset, encoder_embedder, load_embedder
from tfface.export.embedding_files import load_embeddings, save_embeddings
from tfface.export.resumable import embed_resumably
from tfface.export.saved_model import saved_model

__all__ = [
    "Embedder",
    "Embeddings",
    "embed_dataset",
    "embed_resumably",
    "encoder_embedder",
    "load_embedder",
    "load_embeddings",
    "save_embeddings",
    "saved_model",
]
