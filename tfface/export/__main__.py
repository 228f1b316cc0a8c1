"""The fresh process of `check_export`: python -m tfface.export EXPORT IMAGES.npy EMBEDDINGS.npy"""

import sys

import numpy as np

from tfface.export import load_embedder
from tfface.npz_files import read_npy


def main(export: str, images: str, embeddings: str) -> None:
    """Embeds the images of one file, float32 [N, H, W, 3], and writes another, float32 [N, D]."""
    np.save(embeddings, load_embedder(export)(read_npy(images)))


if __name__ == "__main__":
    main(*sys.argv[1:])
