"""Requests with which TensorFlow Serving warms up a loaded model before clients reach it."""

import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from tfface.data.images.alignment import reference_landmarks

WARMUP_FILE = pathlib.Path("assets.extra", "tf_serving_warmup_requests")
_BATCH_SIZES = (1, 4)


def write_warmup_requests(saved_model: str | os.PathLike, inputs: Mapping[str, Sequence[tf.TensorSpec]]) -> bool:
    """Writes requests of one and of several grey images to every signature, as a TFRecord of `PredictionLog`.

    Args:
      saved_model: SavedModel folder, which then holds `assets.extra/tf_serving_warmup_requests`.
      inputs: dict from signature to the list of `tf.TensorSpec` of its inputs, whose first dimension counts images.

    Returns:
      bool, False if nothing was written because the package tensorflow-serving-api is not installed.
    """
    try:
        from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2
    except ImportError:
        return False
    path = pathlib.Path(saved_model) / WARMUP_FILE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, specs in inputs.items():
            for count in _BATCH_SIZES:
                request = predict_pb2.PredictRequest(
                    model_spec=model_pb2.ModelSpec(signature_name=signature),
                    inputs={spec.name: _example(spec, count) for spec in specs},
                )
                log = prediction_log_pb2.PredictLog(request=request)
                writer.write(prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString(deterministic=True))
    return True


def _example(spec, count):
    if spec.dtype == tf.string:
        picture = tf.io.encode_jpeg(tf.fill([112, 112, 3], tf.constant(127, tf.uint8))).numpy()
        return tf.make_tensor_proto([picture] * count)
    one = reference_landmarks() if spec.name == "landmarks" else np.zeros(spec.shape[1:].as_list())
    return tf.make_tensor_proto(np.stack([one] * count), spec.dtype)
