"""scripts/serving_client.py as a user runs it, against the server process."""

import pathlib

import numpy as np
import programs
import pytest
import tensorflow as tf
from served_model import THRESHOLD

from tfface.data import write_landmarks
from tfface.data.images.alignment import reference_landmarks
from tfface.export import load_embeddings

ROOT = pathlib.Path(__file__).resolve().parents[2]


def run(server, *arguments):
    return programs.run("scripts/serving_client.py", f"--server={server}", *arguments)


@pytest.fixture
def folder(tmp_path, images):
    """Folder of two people with three pictures each, one of them damaged."""
    for number, image in enumerate(images[:6]):
        path = tmp_path / "photos" / f"person{number // 3}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image if number != 4 else image[:100])
    return tmp_path / "photos"


def test_embeds_a_folder_and_lists_what_is_bad(server, folder, tmp_path, vectors):
    output = tmp_path / "photos.npz"
    done = run(
        server["http"], "--model=faces", f"--images={folder}", f"--output={output}", "--batch_size=4", "--wait=60"
    )
    assert done.returncode == 1
    assert done.stdout == f"{output}: 5 embeddings of 16 dimensions\n"
    assert "\nperson1/4.png: Invalid PNG" in done.stderr
    assert done.stderr.endswith("Error: 1 of 6 images could not be embedded.\n")
    assert "6/6" in done.stderr  # Of the progress bar.
    embeddings = load_embeddings(output)
    assert embeddings.keys == ["person0/0.png", "person0/1.png", "person0/2.png", "person1/3.png", "person1/5.png"]
    np.testing.assert_array_equal(embeddings.labels, [0, 0, 0, 1, 1])
    np.testing.assert_allclose(embeddings.vectors, vectors[[0, 1, 2, 3, 5]], atol=1e-5)


def test_embeds_photographs_by_a_table_over_grpc(server, folder, tmp_path, vectors):
    pytest.importorskip("tensorflow_serving.apis.prediction_service_pb2_grpc")
    # Landmarks at their reference positions do not move the face.
    table = {f"person0/{number}.png": reference_landmarks().ravel().tolist() for number in range(2)}
    write_landmarks(tmp_path / "landmarks.csv", table)
    output = tmp_path / "photos.tfrecord"
    arguments = (f"--images={folder}", f"--landmarks={tmp_path / 'landmarks.csv'}", f"--output={output}")
    done = run(server["grpc"], "--model=faces", *arguments)
    assert done.returncode == 1
    assert "\nperson1/5.png: no landmarks\n" in done.stderr
    np.testing.assert_allclose(load_embeddings(output).vectors, vectors[:2], atol=1e-4)


def test_compares_two_files(server, tmp_path, images, vectors):
    address = server["http"]  # Over gRPC each of these runs would import TensorFlow.
    pixels = tf.io.decode_png(images[1])
    (tmp_path / "other.png").write_bytes(images[0])
    (tmp_path / "one.png").write_bytes(images[1])
    (tmp_path / "same.png").write_bytes(tf.io.encode_png(pixels, compression=1).numpy())
    (tmp_path / "bad.png").write_bytes(b"no image")
    pairs = {name: f"--compare={tmp_path / 'one.png'},{tmp_path / name}.png" for name in ("other", "same", "bad", "no")}
    same = run(address, "--model=faces", pairs["same"])
    assert (same.stdout, same.returncode) == (f"similarity 1.0000\nsame person (threshold {THRESHOLD:.4f})\n", 0)
    other = run(address, "--model=plain", pairs["other"])
    assert other.stdout == f"similarity {np.dot(vectors[0], vectors[1]):.4f}\n"
    bad = run(address, "--model=faces", pairs["bad"])
    assert bad.returncode == 1
    assert bad.stderr.startswith(f"Error: {tmp_path / 'bad.png'}: not a JPEG or PNG image")
    assert (
        run(address, "--model=faces", pairs["no"]).stderr
        == f"Error: {tmp_path / 'no.png'}: No such file or directory.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--images=a.png", "--output=x.npz"], "model 'faces': Connection refused (attempts: 2)"),
        ([], "either --images or --compare must be given."),
        (["--images=a.png", "--compare=a.png,b.png"], "either --images or --compare must be given."),
        (["--images=a.png", "--output=x.csv"], "--output must end in .npz or .tfrecord, got 'x.csv'."),
        (["--images=scripts", "--output=x.npz"], "scripts holds no images."),
        (["--compare=a.png"], "--compare takes two aligned faces"),
    ],
    ids=str,
)
def test_ends_in_one_sentence(arguments, message):
    done = run("http://127.0.0.1:9", "--model=faces", "--retries=1", *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
