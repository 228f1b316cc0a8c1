"""Embedders from exports, embeddings of datasets, and their file."""

import numpy as np
import pytest
import tensorflow as tf

from tfface.export import Embeddings, embed_dataset, load_embedder, load_embeddings, save_embeddings, saved_model


@pytest.fixture(scope="module")
def embedder(export):
    return load_embedder(export)


def dataset_of(images, batch_size=2, labels=True):
    elements = {"image": images, "key": [f"face/{i}.jpg" for i in range(len(images))]}
    if labels:
        elements["label"] = np.arange(len(images), dtype=np.int32) + 7
    return tf.data.Dataset.from_tensor_slices(elements).batch(batch_size)


def test_embedder_gives_the_encoders_directions(encoder, embedder, images):
    raw = encoder(images, training=False).numpy()
    vectors = embedder(images)
    assert isinstance(vectors, np.ndarray)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, raw / np.linalg.norm(raw, axis=1, keepdims=True), atol=1e-5)
    assert (embedder.image_size, embedder.embedding_dim) == ((56, 56), 16)


@pytest.mark.parametrize("shape", [(5, 57, 56, 3), (5, 56, 56, 1), (56, 56, 3)])
def test_embedder_refuses_other_shapes(embedder, shape):
    with pytest.raises(ValueError, match="images must be"):
        embedder(np.zeros(shape, np.float32))


def test_embedder_refuses_raw_pixels(embedder):
    with pytest.raises(ValueError, match="float32.* uint8"):
        embedder(np.zeros([1, 56, 56, 3], np.uint8))


def test_load_embedder_names_a_path_that_is_no_export(tmp_path):
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(ValueError, match=path.name):
            load_embedder(path)
    tf.saved_model.save(tf.Module(), str(tmp_path / "foreign"))
    with pytest.raises(ValueError, match="foreign.* no signature 'aligned'"):
        load_embedder(tmp_path / "foreign")


def test_a_saved_model_without_a_card_is_loaded_with_one_warning(encoder, tmp_path, capsys):
    for name, card in (("ours", {"name": "ours"}), ("strange", None)):
        saved_model(encoder, tmp_path / name, card=card)
    load_embedder(tmp_path / "ours")
    assert "Warning" not in capsys.readouterr().err
    load_embedder(tmp_path / "strange")
    said = capsys.readouterr().err
    assert f"'{tmp_path / 'strange'}' has no model card" in said and "trust" in said
    load_embedder(tmp_path / "strange")
    assert "Warning" not in capsys.readouterr().err


def test_embeds_a_dataset_in_order(embedder, images):
    embeddings = embed_dataset(embedder, dataset_of(images))
    np.testing.assert_allclose(embeddings.vectors, embedder(images), atol=1e-6)
    assert embeddings.keys == [f"face/{i}.jpg" for i in range(5)]
    np.testing.assert_array_equal(embeddings.labels, [7, 8, 9, 10, 11])
    assert embeddings.labels.dtype == np.int64


def test_flip_normalises_the_sum_with_the_mirror_image(embedder, images):
    total = embedder(images) + embedder(images[:, :, ::-1])
    expected = total / np.linalg.norm(total, axis=1, keepdims=True)
    vectors = embed_dataset(embedder, dataset_of(images), flip=True).vectors
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
    assert np.abs(vectors - embedder(images)).max() > 1e-3


def test_labels_are_optional_and_a_dataset_may_be_empty(embedder, images):
    assert embed_dataset(embedder, dataset_of(images, labels=False)).labels is None
    empty = embed_dataset(embedder, dataset_of(images[:0]), flip=True)
    assert (empty.vectors.shape, empty.keys, empty.labels.shape) == ((0, 16), [], (0,))


def test_progress_sees_every_batch(embedder, images):
    seen = []

    def progress(batches):
        for batch in batches:
            seen.append(len(batch["key"]))
            yield batch

    embed_dataset(embedder, dataset_of(images), progress=progress)
    assert seen == [2, 2, 1]


@pytest.mark.parametrize("broken", ["unbatched", "no key", "no dict"])
def test_refuses_other_datasets(embedder, images, broken):
    dataset = dataset_of(images)
    if broken == "unbatched":
        dataset = dataset.unbatch()
    elif broken == "no key":
        dataset = dataset.map(lambda batch: {"image": batch["image"]})
    else:
        dataset = dataset.map(lambda batch: batch["image"])
    with pytest.raises(ValueError, match="dataset must"):
        embed_dataset(embedder, dataset)


def _embeddings(count=3, labels=True):
    vectors = np.random.default_rng(5).normal(size=[count, 4]).astype(np.float32)
    return Embeddings(vectors, [f"Zoë/{i}" for i in range(count)], np.arange(count) if labels else None)


@pytest.mark.parametrize("count", [3, 0])
@pytest.mark.parametrize("labels", [True, False])
def test_file_round_trip(tmp_path, count, labels):
    path = tmp_path / "vectors"  # no .npz: the name is taken as it is
    saved = _embeddings(count, labels)
    save_embeddings(path, _embeddings(5))
    save_embeddings(path, saved)
    assert list(tmp_path.iterdir()) == [path]
    loaded = load_embeddings(path)
    np.testing.assert_array_equal(loaded.vectors, saved.vectors)
    assert loaded.keys == saved.keys
    if labels:
        np.testing.assert_array_equal(loaded.labels, saved.labels)
    else:
        assert loaded.labels is None


def test_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "vectors.npz"
    save_embeddings(path, _embeddings(3))

    def fail(file, **_):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(OSError, match="disk full"):
        save_embeddings(path, _embeddings(2))
    assert len(load_embeddings(path).keys) == 3
    assert list(tmp_path.iterdir()) == [path]


GOOD = {"vectors": np.ones([2, 4], np.float32), "keys": np.array(["a", "b"]), "labels": np.array([0, 1])}


@pytest.mark.parametrize(
    "change",
    [
        {"vectors": np.ones([2, 4])},
        {"vectors": np.ones([8], np.float32)},
        {"keys": np.array(["a", "b", "c"])},
        {"keys": np.array([["a"], ["b"]])},
        {"keys": np.array([1, 2])},
        {"keys": np.array(["a", "b"], dtype=object)},
        {"labels": np.array([0, 1, 2])},
        {"labels": np.array([0.0, 1.0])},
        {"keys": None},
    ],
)
def test_load_refuses_other_arrays(tmp_path, change):
    path = tmp_path / "broken.npz"
    np.savez(path, **{name: array for name, array in {**GOOD, **change}.items() if array is not None})
    with pytest.raises(ValueError, match="broken.npz"):
        load_embeddings(path)


def test_load_refuses_other_files(tmp_path):
    path = tmp_path / "broken.npz"
    np.savez(path, **GOOD)
    half = path.read_bytes()[:-30]
    np.save(tmp_path / "array.npy", GOOD["vectors"])
    for data in (b"", b"hello, this is text", half, (tmp_path / "array.npy").read_bytes()):
        path.write_bytes(data)
        with pytest.raises(ValueError, match="broken.npz"):
            load_embeddings(path)
    with pytest.raises(FileNotFoundError):
        load_embeddings(tmp_path / "absent.npz")
