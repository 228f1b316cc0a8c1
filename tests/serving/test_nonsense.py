"""Answers that cannot be right are refused and do no harm."""

import json

import numpy as np
import pytest
import stand_in
import tensorflow as tf
from scripted import DIM, IMAGES, one_hot, saying

from tfface import serving
from tfface.serving import answers


def with_rows(change):
    good = one_hot([b"0", b"1"])
    return {"embedding": change(good)}


WRONG = {
    "too few rows": lambda good: good[:1],
    "too many rows": lambda good: np.concatenate([good, good]),
    "other length": lambda good: good[:, :3],
    "other rank": lambda good: good[:, 0],
    "not a number": lambda good: good * np.float32("nan"),
    "infinite": lambda good: np.where(good > 0, np.float32("inf"), np.float32(0)),
    "largest floats": lambda good: good * np.float32(3e38),
    "not unit": lambda good: good * np.float32(1.01),
    "decisions": lambda good: good > 0,
    "nothing": lambda good: good[:0],
}


@pytest.mark.parametrize("change", WRONG)
def test_wrong_embeddings_are_not_believed(scripted_address, model, change):
    model.answer = lambda earlier, inputs: with_rows(WRONG[change])
    with (
        serving.connect(scripted_address, "faces") as client,
        pytest.raises(serving.ServerError, match="embedding") as caught,
    ):
        client.embed(IMAGES[:2])
    assert scripted_address in str(caught.value)
    assert len(model.requests) == 1


def test_zero_embeddings_are_believed(scripted_address, model):
    model.answer = lambda earlier, inputs: with_rows(lambda good: good * 0)
    with serving.connect(scripted_address, "faces") as client:
        np.testing.assert_array_equal(client.embed(IMAGES[:2]), np.zeros([2, DIM]))


def test_a_missing_output(scripted_address, model):
    model.answer = lambda earlier, inputs: {"first": one_hot([b"0"]), "second": one_hot([b"0"])}
    with serving.connect(scripted_address, "faces") as client, pytest.raises(serving.ServerError, match="'embedding'"):
        client.embed(IMAGES[:1])


GOOD_PAIRS = {"similarity": [0.5, 0.25], "same": [True, False], "threshold": [0.5, 0.5]}


@pytest.mark.parametrize(
    "change",
    [
        {"similarity": [0.5, 1.5]},
        {"similarity": [0.5, float("nan")]},
        {"same": [True, True]},
        {"same": [True]},
        {"threshold": [0.5, 0.6]},
        {"threshold": [float("nan")] * 2},
        {"threshold": [[0.5], [0.5]]},
    ],
    ids=str,
)
def test_wrong_comparisons_are_not_believed(scripted_address, model, change):
    def answer(values):
        types = {"similarity": np.float32, "same": np.bool_, "threshold": np.float32}
        return lambda earlier, inputs: {name: np.array(values[name], dtype) for name, dtype in types.items()}

    with serving.connect(scripted_address, "faces") as client:
        model.answer = answer(GOOD_PAIRS)
        assert client.compare(IMAGES[:2], IMAGES[:2]).threshold == 0.5
        model.answer = answer({**GOOD_PAIRS, **change})
        with pytest.raises(serving.ServerError):
            client.compare(IMAGES[:2], IMAGES[:2])


def test_huge_answers_are_not_read_over_rest(rest):
    class Huge(stand_in.RestHandler):
        def respond(self, status, body):
            self.send_response(200)
            self.send_header("Content-Length", str(1 << 40))
            self.end_headers()
            try:
                for _ in range(answers.MAX_RESPONSE_BYTES // 2**20 + 8):
                    self.wfile.write(b" " * 2**20)
            except ConnectionError:
                pass  # The client has hung up.

    with pytest.raises(serving.ServerError, match="its answer is larger than 64 MB"):
        serving.connect(rest(Huge), "faces").metadata()


def test_huge_answers_are_not_read_over_grpc(model, grpc_address):
    model.answer = lambda earlier, inputs: {"embedding": np.zeros([2, answers.MAX_RESPONSE_BYTES // 8 + 1], np.float32)}
    client = serving.connect(grpc_address, "faces")
    with client, pytest.raises(serving.ServerError, match="larger than max.*RESOURCE_EXHAUSTED"):
        client.embed(IMAGES[:2])


def test_a_tensor_that_claims_a_huge_shape(model, grpc_address):
    # One number that claims to fill four terabytes.
    tensor = tf.make_tensor_proto(np.float32(1), shape=[1 << 20, 1 << 20])
    model.answer = lambda earlier, inputs: {"embedding": tensor}
    with serving.connect(grpc_address, "faces") as client, pytest.raises(serving.ServerError, match="1048576"):
        client.embed(IMAGES[:2])


def test_a_tensor_without_its_numbers(model, grpc_address):
    tensor = tf.make_tensor_proto(np.zeros([2, DIM], np.float32))
    tensor.tensor_content = tensor.tensor_content[:-1]
    model.answer = lambda earlier, inputs: {"embedding": tensor}
    with serving.connect(grpc_address, "faces") as client, pytest.raises(serving.ServerError, match="cannot be read"):
        client.embed(IMAGES[:2])


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>Welcome</html>", b"[]", b"1", b"{", b"\xff\xfe", b"[" * 100_000, b'{"outputs": ' + b"9" * 5000 + b"}"]
    + [b'{"outputs": %s}' % value for value in (b"null", b"{}", b'"text"', b"[[1], [1, 2]]", b'[["a"]]', b"[[{}]]")],
    ids=lambda body: str(body[:20]),
)
def test_nonsense_over_rest(rest, body):
    address = rest(saying(200, body))
    with pytest.raises(serving.ServerError, match=rf"{address}, model 'faces': (output 'embedding'|its answer)"):
        serving.connect(address, "faces").embed(IMAGES[:1])


def metadata_of(shape, **changes):
    embedding = {"dtype": "DT_FLOAT", "tensor_shape": shape}
    signatures = {"serving_default": {"outputs": {"embedding": embedding}}}
    return {"model_spec": {"version": "3"}, "metadata": {"signature_def": {"signature_def": signatures}}, **changes}


@pytest.mark.parametrize(
    "answer",
    [
        {},
        metadata_of({}, model_spec={}),
        metadata_of({}, model_spec={"version": "newest"}),
        metadata_of({}, metadata=[]),
        metadata_of({"dim": [{"size": "-1"}, {"size": "many"}]}),
        metadata_of({"unknown_rank": True}),
        metadata_of({"dim": [{"size": "-1"}, {"size": "-1"}]}),
        metadata_of({"dim": [{"size": "-1"}, {"size": str(1 << 40)}]}),
        metadata_of({"dim": [{"size": "-1"}]}),
        metadata_of([1]),
    ],
    ids=str,
)
def test_nonsense_as_metadata(rest, answer):
    address = rest(saying(200, json.dumps(answer).encode(), to="/metadata"))
    with pytest.raises(serving.ServerError, match=rf"{address}, model 'faces': it"):
        serving.connect(address, "faces").embed(IMAGES[:1])


@pytest.mark.parametrize("answer", [[], {"model_version_status": 1}, {"model_version_status": [{}]}], ids=str)
def test_nonsense_as_status(rest, answer):
    address = rest(saying(200, json.dumps(answer).encode(), to="/faces"))
    with pytest.raises(serving.ServerError, match="its answer is not"):
        serving.connect(address, "faces").wait_until_ready(5)
