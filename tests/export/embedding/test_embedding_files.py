"""Embeddings as TFRecord, and embedding that continues after an interruption."""

import numpy as np
import pytest
import tensorflow as tf

from tfface.export import Embeddings, embed_dataset, embed_resumably, load_embedder, load_embeddings, save_embeddings


def some(count=5, labels=True):
    vectors = np.random.default_rng(5).normal(size=[count, 4]).astype(np.float32)
    return Embeddings(vectors, [f"Zoë/{i}" for i in range(count)], np.arange(count) * 3 if labels else None)


@pytest.mark.parametrize("labels", [True, False])
def test_records_round_trip(tmp_path, labels, monkeypatch):
    monkeypatch.setattr("tfface.export.embedding.files._RECORDS_AT_ONCE", 2)
    path, saved = tmp_path / "vectors.tfrecord", some(labels=labels)
    save_embeddings(path, saved)
    loaded = load_embeddings(path)
    np.testing.assert_array_equal(loaded.vectors, saved.vectors)
    assert loaded.keys == saved.keys
    assert (loaded.labels is None) == (not labels)
    assert not labels or loaded.labels.tolist() == saved.labels.tolist()
    assert list(tmp_path.iterdir()) == [path]


def test_records_are_examples_that_anybody_can_read(tmp_path):
    save_embeddings(tmp_path / "vectors.tfrecord", some(1))
    (record,) = tf.data.TFRecordDataset(str(tmp_path / "vectors.tfrecord"))
    feature = tf.train.Example.FromString(record.numpy()).features.feature
    assert feature["key"].bytes_list.value[0].decode() == "Zoë/0"
    assert feature["label"].int64_list.value[0] == 0
    np.testing.assert_array_equal(np.float32(feature["embedding"].float_list.value), some(1).vectors[0])


@pytest.mark.parametrize("name", ["a.npz", "a.tfrecord"])
def test_equal_embeddings_give_equal_bytes(tmp_path, name):
    save_embeddings(tmp_path / name, some())
    before = (tmp_path / name).read_bytes()
    save_embeddings(tmp_path / name, some())
    assert (tmp_path / name).read_bytes() == before


def example(**features):
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


FLOATS = tf.train.Feature(float_list=tf.train.FloatList(value=[1.0, 2.0]))
THREE = tf.train.Feature(float_list=tf.train.FloatList(value=[1.0, 2.0, 3.0]))
KEY = tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"a"]))
NO_UTF8 = tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"\xff"]))


@pytest.mark.parametrize(
    "records, message",
    [
        ([], "the file is empty"),
        ([example(key=KEY)], "no feature 'embedding'"),
        ([example(embedding=FLOATS)], "key"),
        ([example(embedding=FLOATS, key=KEY), example(embedding=THREE, key=KEY)], "embedding"),
        ([example(embedding=FLOATS, key=NO_UTF8)], "utf-8"),
        ([b"\xff\xff\xff"], "not a tf.train.Example"),
        ([example(embedding=FLOATS, key=KEY), b"\xff\xff\xff"], ""),
    ],
)
def test_other_records_are_refused(tmp_path, records, message):
    path = tmp_path / "broken.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
    with pytest.raises(ValueError, match=f"broken.tfrecord.*not a file of embeddings.*{message}"):
        load_embeddings(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["a.npz", "a.tfrecord"])
def test_vectors_that_are_not_finite_are_refused_by_key(tmp_path, name, value):
    saved = some()
    save_embeddings(tmp_path / name, saved)
    saved.vectors[2:4, 1] = value
    with pytest.raises(ValueError, match=r"2 of 5 images are not finite, the first of \['Zoë/2', 'Zoë/3'\]"):
        Embeddings(saved.vectors, saved.keys)
    save_embeddings(tmp_path / name, saved)
    with pytest.raises(ValueError, match=f"{name}.*2 of 5 images are not finite, the first of .'Zoë/2', 'Zoë/3'"):
        load_embeddings(tmp_path / name)


def test_a_network_that_gives_zero_gives_zero_vectors(tmp_path):
    saved = Embeddings(np.zeros([2, 4], np.float32), ["a", "b"])
    save_embeddings(tmp_path / "a.npz", saved)
    np.testing.assert_array_equal(load_embeddings(tmp_path / "a.npz").vectors, saved.vectors)


def test_damaged_and_absent_records_are_named(tmp_path):
    path = tmp_path / "broken.tfrecord"
    save_embeddings(path, some())
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="broken.tfrecord"):
        load_embeddings(path)
    with pytest.raises(FileNotFoundError):
        load_embeddings(tmp_path / "absent.tfrecord")


class Interrupted(Exception):
    pass


class FailingEmbedder:
    """An embedder that breaks down after some batches, and counts them."""

    def __init__(self, embedder, batches):
        self._embedder, self.left, self.calls = embedder, batches, 0
        self.embedding_dim = embedder.embedding_dim

    def __call__(self, images):
        if self.calls == self.left:
            raise Interrupted
        self.calls += 1
        return self._embedder(images)


@pytest.fixture(scope="module")
def embedder(export):
    return load_embedder(export)


def dataset(count=13, labels=True):
    images = np.random.default_rng(3).uniform(-1, 1, [count, 56, 56, 3]).astype(np.float32)
    elements = {"image": images, "key": [f"{i}.jpg" for i in range(count)]}
    if labels:
        elements["label"] = np.arange(count)
    return tf.data.Dataset.from_tensor_slices(elements).batch(2)


@pytest.mark.parametrize("labels", [True, False])
@pytest.mark.parametrize("batches", [0, 1, 3, 4, 6])
def test_interrupted_work_goes_on_where_it_was(embedder, tmp_path, batches, labels):
    whole = embed_dataset(embedder, dataset(labels=labels))
    images = []
    arguments = {"folder": tmp_path / "pieces", "job": {"model": "m"}, "batches_per_piece": 3, "advance": images.append}
    with pytest.raises(Interrupted):
        embed_resumably(FailingEmbedder(embedder, batches), dataset(labels=labels), **arguments)
    images.clear()
    counting = FailingEmbedder(embedder, -1)
    resumed = embed_resumably(counting, dataset(labels=labels), **arguments)
    np.testing.assert_array_equal(resumed.vectors, whole.vectors)
    assert resumed.keys == whole.keys
    assert (resumed.labels is None) == (not labels)
    # Complete pieces of three batches are not embedded again.
    assert counting.calls == 7 - batches // 3 * 3
    assert sum(images) == 13
    # Once all pieces exist, nothing is embedded.
    nothing = FailingEmbedder(embedder, 0)
    np.testing.assert_array_equal(embed_resumably(nothing, dataset(labels=labels), **arguments).vectors, whole.vectors)


def test_empty_dataset_is_embedded(embedder, tmp_path):
    assert embed_resumably(embedder, dataset().take(0), tmp_path / "pieces", {}).vectors.shape == (0, 16)


def test_pieces_of_another_job_are_refused(embedder, tmp_path):
    folder = tmp_path / "pieces"
    embed_resumably(embedder, dataset(3), folder, {"model": "one"})
    others = (({"model": "two"}, False, "model was one, now two"), ({"model": "one"}, True, "flip was False, now True"))
    for job, flip, change in others:
        with pytest.raises(ValueError, match=f"pieces holds another job \\({change}.*remove it"):
            embed_resumably(embedder, dataset(3), folder, job, flip)
    (folder / "job.json").write_text("{")
    with pytest.raises(ValueError, match="job.json: not JSON .*Remove .*pieces"):
        embed_resumably(embedder, dataset(3), folder, {"model": "one"})


def test_damaged_piece_is_named(embedder, tmp_path):
    embed_resumably(embedder, dataset(3), tmp_path / "pieces", {})
    (tmp_path / "pieces/piece-000000.npz").write_bytes(b"half")
    with pytest.raises(ValueError, match="piece-000000.npz"):
        embed_resumably(embedder, dataset(3), tmp_path / "pieces", {})
