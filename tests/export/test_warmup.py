"""Warm-up requests, read back with the official protocol buffers and run in TensorFlow's C++ loader."""

import sys

import c_api
import numpy as np
import pytest
import tensorflow as tf

from tfface.export.warmup import WARMUP_FILE, write_warmup_requests


def test_every_signature_answers_its_warmup_requests(export):
    prediction_log_pb2 = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    calls = []
    for record in tf.data.TFRecordDataset(str(export / WARMUP_FILE)).as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        assert log.WhichOneof("log_type") == "predict_log"
        request = log.predict_log.request
        values = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
        inputs = {name: value.tolist() if value.dtype == object else value for name, value in values.items()}
        calls.append((request.model_spec.signature_name, inputs))
    counts = [(name, len(next(iter(inputs.values())))) for name, inputs in calls]
    names = ("aligned", "compare", "detect_free_align", "serving_default")
    assert sorted(counts) == [(name, count) for name in names for count in (1, 4)]
    for (name, count), answer in zip(counts, c_api.run_signatures(export, calls), strict=True):
        assert not isinstance(answer, str), (name, answer)
        for value in answer.values():
            assert len(value) == count and np.isfinite(value).all()


def test_an_export_without_the_stubs_has_no_warmup_requests(tmp_path, monkeypatch):
    for name in ("tensorflow_serving", "tensorflow_serving.apis"):
        monkeypatch.setitem(sys.modules, name, None)
    assert not write_warmup_requests(tmp_path, {"aligned": [tf.TensorSpec([None, 8, 8, 3], tf.float32, "image")]})
    assert not list(tmp_path.iterdir())
