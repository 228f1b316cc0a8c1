"""The client against a server process over both protocols: the stand-in and, if installed, TensorFlow Serving."""

import base64
import json
import urllib.request

import numpy as np
import pytest
import tensorflow as tf
from served_model import THRESHOLD, embed

from tfface import serving
from tfface.data.images.alignment import align_image, reference_landmarks

UNDECODABLE = {"nothing": b"", "text": b"no image", "truncated": None}


def test_embeddings_are_those_of_the_keras_model(connect, images, vectors):
    client = connect(batch_size=3, concurrency=2)
    client.wait_until_ready(60)
    found = client.embed(images)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, vectors, atol=1e-5)


def test_aligns_photographs_by_their_landmarks(connect, encoder):
    rng = np.random.default_rng(5)
    photographs, landmarks, faces = [], [], []
    for size in ([180, 200], [240, 150], [160, 160]):
        picture = (
            rng.integers(0, 256, [size[0] // 10, size[1] // 10, 3], np.uint8).repeat(10, axis=0).repeat(10, axis=1)
        )
        photographs.append(tf.io.encode_png(picture).numpy())
        landmarks.append(reference_landmarks() * 1.2 + rng.uniform(0, 12, [5, 2]))
        landmarks[-1][len(faces)] = np.nan  # Unknown, another point in each.
        faces.append(align_image(picture, landmarks[-1].astype(np.float32)).numpy())
    found = connect(batch_size=2).align_and_embed(photographs, landmarks)
    np.testing.assert_allclose(found, embed(encoder, np.stack(faces)), atol=1e-5)


def test_compares_pairs(connect, images, vectors):
    firsts, seconds = [0, 1, 2, 3, 4], [0, 6, 7, 8, 4]
    pairs = [images[i] for i in firsts], [images[i] for i in seconds]
    expected = np.sum(vectors[firsts] * vectors[seconds], axis=1)
    found = connect(batch_size=2).compare(*pairs)
    np.testing.assert_allclose(found.similarity, expected, atol=1e-5)
    np.testing.assert_array_equal(found.same, expected >= THRESHOLD)
    assert set(found.same) == {False, True}
    assert found.threshold == THRESHOLD
    plain = connect("plain").compare(*pairs)
    np.testing.assert_allclose(plain.similarity, expected, atol=1e-5)
    assert (plain.same, plain.threshold) == (None, None)


@pytest.mark.parametrize("kind", UNDECODABLE)
def test_bad_images_are_found_and_the_others_embedded(connect, images, vectors, kind):
    bad = UNDECODABLE[kind] if kind != "truncated" else images[0][:200]
    spoiled = {0, 5, 6, 10}
    rows = [(bad if index in spoiled else image,) for index, image in enumerate(images)]
    client = connect(batch_size=4, concurrency=2)
    results = list(client.embed_each(rows))
    assert {index for index, result in enumerate(results) if isinstance(result, serving.Refused)} == spoiled
    good = sorted(set(range(11)) - spoiled)
    np.testing.assert_allclose([results[index] for index in good], vectors[good], atol=1e-5)
    with pytest.raises(serving.Refused, match=r"model 'faces': image 1: \w[^\n{]+ \((HTTP|gRPC) status [^\n]+\)$"):
        client.embed([images[1], bad, images[2]])
    with pytest.raises(serving.Refused, match="pair 1"):
        client.compare(images[:2], [images[1], bad])


def test_landmarks_without_a_transform_are_refused(connect, images):
    with pytest.raises(serving.Refused, match="image 1: .*landmarks"):
        connect().align_and_embed(images[:2], [reference_landmarks(), np.zeros([5, 2])])


def test_nothing_gives_nothing(connect):
    client = connect()
    assert client.embed([]).shape == client.align_and_embed([], []).shape == (0, 16)
    none = client.compare([], [])
    assert (none.similarity.shape, none.same.shape, none.threshold) == ((0,), (0,), None)


def test_knows_version_and_signatures(connect):
    assert connect().metadata().version == 3
    metadata = connect(version=1).metadata()
    assert (metadata.version, metadata.embedding_dim) == (1, 16)
    assert {"serving_default", "aligned", "detect_free_align", "compare"} <= metadata.outputs.keys()
    assert metadata.inputs["detect_free_align"]["landmarks"].shape == (-1, 5, 2)
    assert metadata.outputs["compare"]["same"].dtype == "DT_BOOL"
    assert connect("plain").metadata().outputs["compare"].keys() == {"similarity"}


def test_unknown_model_version_and_signature(connect, images):
    for client, name in ((connect("nobody"), "nobody"), (connect(version=2), "version 2")):
        for call in (client.metadata, lambda client=client: client.embed(images), client.wait_until_ready):
            with pytest.raises(serving.ServerError, match=f"{name}.*: .*ot f"):  # "not found", "Could not find"
                call()
    for signature in ("mask", "aligned"):
        with pytest.raises(serving.ServerError, match=f"no signature '{signature}' for image files, only .*'compare'"):
            list(connect().embed_each([(images[0],)], signature))


def test_the_curl_line_of_the_docs(server, images, vectors):
    # In rows; the client itself uses columns.
    body = {"instances": [{"b64": base64.b64encode(image).decode()} for image in images[:2]]}
    request = urllib.request.Request(f"{server['http']}/v1/models/faces:predict", json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=60) as response:
        np.testing.assert_allclose(json.load(response)["predictions"], vectors[:2], atol=1e-5)
