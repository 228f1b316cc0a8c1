"""Small folders of images for the tests of datasets."""

import io

import numpy as np
import pytest
from PIL import Image

from tfface.data.conversion.convert import convert
from tfface.data.sources.base import Item, Source


class MemorySource(Source):
    """Images from a dict of key -> bytes, or -> (bytes, landmarks); the first part of a key is the identity."""

    def __init__(self, images):
        super().__init__()
        self.images = {key: value if isinstance(value, tuple) else (value, None) for key, value in images.items()}

    def items(self):
        return [Item(key, key.split("/")[0], landmarks=marks) for key, (_, marks) in self.images.items()]

    def read(self, item):
        return self.images[item.key][0]


@pytest.fixture(scope="session")
def memory_source():
    """The class `MemorySource`."""
    return MemorySource


@pytest.fixture(scope="session")
def picture():
    """Function that makes an encoded image: a smooth random field, so that JPEG represents it well."""

    def make(seed, size=(24, 20), mode="RGB", **save):
        field = np.random.default_rng(seed).integers(0, 256, (5, 4, 3), np.uint8)
        image = Image.fromarray(field).resize(size[::-1], Image.Resampling.BICUBIC).convert(mode)
        buffer = io.BytesIO()
        image.save(buffer, **{"format": "PNG", **save})
        return buffer.getvalue()

    return make


@pytest.fixture(scope="session")
def people_in_turn(memory_source, picture):
    """Function that makes a dataset of images of so many people, each of the next one, and returns its folder."""

    def make(folder, images, people, shards):
        pictures = {f"p{number % people}/{number:03d}.png": picture(number) for number in range(images)}
        convert(memory_source(pictures), folder, num_shards=shards)
        return folder

    return make


@pytest.fixture
def faces(tmp_path, picture):
    """Folder `root/identity/view/image` of 6 identities with 5 images each, half JPEG and half PNG."""
    root = tmp_path / "faces"
    for person in range(6):
        for shot in range(5):
            extension = (".jpg", ".PNG")[shot % 2]
            path = root / f"person_{person}" / ("frontal", "profile")[shot // 3] / f"{shot:02d}{extension}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture(10 * person + shot, format=("JPEG", "PNG")[shot % 2]))
    return root
