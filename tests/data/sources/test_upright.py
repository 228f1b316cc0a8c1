"""Every source of photographs turns them upright, and so does a dataset of a folder."""

import pickle
import struct
import zipfile

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from tfface.data import pipeline
from tfface.data.conversion.convert import convert
from tfface.data.images.decoding import check_image, decode_pixels
from tfface.data.sources.folders import FolderSource
from tfface.data.sources.image_lists import ListSource
from tfface.data.sources.insightface_bin import BinSource
from tfface.data.sources.recordio_source import RecordIOSource
from tfface.data.sources.records_source import RecordsSource
from tfface.data.sources.tfrecord_source import TFRecordSource
from tfface.data.sources.zip_folders import ZipSource


@pytest.fixture
def photographs(tmp_path):
    """Photographs of all eight orientations in the form of every source; their upright pixels by key."""
    y, x = np.mgrid[:40, :64]
    pixels, lines, pack, images = {}, ["path,label"], b"", []
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for value in range(1, 9):
            key = f"person{value % 2}/{value}.{'png' if value % 3 else 'jpg'}"
            path = tmp_path / "photos" / key
            path.parent.mkdir(parents=True, exist_ok=True)
            exif = Image.Exif()
            exif[0x0112] = value
            Image.fromarray(np.stack([3 * x, 3 * y, x + y], -1).astype(np.uint8)).save(path, exif=exif)
            with Image.open(path) as image:
                pixels[key] = np.asarray(ImageOps.exif_transpose(image)).astype(int)
            archive.write(path, key)
            lines.append(f"{key},{value % 2}")
            images.append(path.read_bytes())
            record = struct.pack("<IfQQ", 0, value % 2, value, 0) + images[-1]
            pack += struct.pack("<II", 0xCED7230A, len(record)) + record + bytes(-len(record) % 4)
    (tmp_path / "photos.csv").write_text("\n".join(lines))
    (tmp_path / "photos.rec").write_bytes(pack)
    (tmp_path / "photos.bin").write_bytes(pickle.dumps((images, [True, False, True, False])))
    with tf.io.TFRecordWriter(str(tmp_path / "photos.tfrecord")) as writer:
        for key, image in zip(pixels, images, strict=True):
            values = {"image": image, "label": key.split("/")[0].encode(), "name": key.encode()}
            lists = {name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[it])) for name, it in values.items()}
            writer.write(tf.train.Example(features=tf.train.Features(feature=lists)).SerializeToString())
    return tmp_path, pixels


def _agree(found, pixels):
    assert found.keys() == pixels.keys()
    for key, image in found.items():
        assert np.abs(image - pixels[key]).max() <= (0 if key.endswith(".png") else 6), key


def test_sources_and_records_are_upright(photographs):
    folder, pixels = photographs
    for number, source in enumerate((
        FolderSource(folder / "photos"),
        ZipSource(folder / "photos.zip"),
        ListSource(folder / "photos.csv", folder / "photos"),
        TFRecordSource([str(folder / "photos.tfrecord")], name="name"),
    )):  # fmt: skip
        read = {item.key: source.read(item) for item in source.items()}
        assert {key: check_image(data) for key, data in read.items()} == {k: v.shape[:2] for k, v in pixels.items()}
        _agree({key: decode_pixels(data).numpy() for key, data in read.items()}, pixels)
        convert(source, folder / f"records{number}", workers=1)
        records = RecordsSource(str(folder / f"records{number}"))
        _agree({item.key: decode_pixels(records.read(item)).numpy() for item in records.items()}, pixels)


@pytest.mark.parametrize("source, name", [(RecordIOSource, "photos.rec"), (BinSource, "photos.bin")])
def test_packs_are_upright(photographs, source, name):
    folder, pixels = photographs
    source = source(folder / name)
    read = [decode_pixels(source.read(item)).numpy() for item in source.items()]
    _agree(dict(zip(pixels, read, strict=True)), pixels)


def test_a_dataset_of_a_folder_is_upright(photographs):
    folder, pixels = photographs
    for shape in ((40, 64), (64, 40)):
        keys = [key for key, image in pixels.items() if image.shape[:2] == shape]
        (batch,) = pipeline.folder_dataset(folder / "photos", keys, image_size=shape)
        images = np.rint(batch["image"].numpy() * 127.5 + 127.5)
        for key, image in zip(keys, images, strict=True):
            np.testing.assert_array_equal(image, pixels[key])
