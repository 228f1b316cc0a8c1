"""Export: what leaves the library for serving, and embeddings from what was exported."""

from tfface.export.embedding import (
    Embedder,
    Embeddings,
    embed_dataset,
    encoder_embedder,
    load_embedder,
    load_embeddings,
    save_embeddings,
)
from tfface.export.saved_model import saved_model

__all__ = [
    "Embedder",
    "Embeddings",
    "embed_dataset",
    "encoder_embedder",
    "load_embedder",
    "load_embeddings",
    "save_embeddings",
    "saved_model",
]
