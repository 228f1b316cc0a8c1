"""Servers in this process that answer as a test tells them, over the protocols of the stand-in."""

import threading

import numpy as np
import stand_in
from tensorflow.core.protobuf import meta_graph_pb2

DIM = 4
IMAGES = [b"%d" % number for number in range(10)]
_STRING, _FLOAT, _BOOL = 7, 1, 10


def _signature(inputs, outputs):
    signature = meta_graph_pb2.SignatureDef()
    for side, tensors in ((signature.inputs, inputs), (signature.outputs, outputs)):
        for name, (dtype, *shape) in tensors.items():
            side[name].dtype = dtype
            for size in (-1, *shape):
                side[name].tensor_shape.dim.add(size=size)
    return signature


def one_hot(images):
    """The scripted embedding: image b"7" has a one at 7 modulo 4."""
    return np.eye(DIM, dtype=np.float32)[[int(image) % DIM for image in images]]


class Scripted:
    """The only model of a server, named "faces", with the version 3.

    Attributes:
      answer: function from the number of earlier requests and the inputs to {output: array}; raises `stand_in.Failure`.
      requests: list of the first input of each request so far, as lists of bytes.
      most: int, largest number of requests in flight at a time.
      heard: list of the headers of each request so far, as dicts.
    """

    def __init__(self):
        self.heard = []
        self.requests, self.most, self._now, self._lock = [], 0, 0, threading.Lock()
        self.signatures = {
            "serving_default": _signature({"image_bytes": (_STRING,)}, {"embedding": (_FLOAT, DIM)}),
            "compare": _signature(
                {"first_bytes": (_STRING,), "second_bytes": (_STRING,)},
                {"similarity": (_FLOAT,), "same": (_BOOL,), "threshold": (_FLOAT,)},
            ),
        }

    @staticmethod
    def answer(earlier, inputs):
        if b"bad" in inputs["image_bytes"]:
            raise stand_in.Failure("INVALID_ARGUMENT", 'It\'s "né", no image.\n\t [[{{node DecodeJpeg}}]]')
        return {"embedding": one_hot(inputs["image_bytes"])}

    def run(self, signature, inputs, names=None):
        with self._lock:
            earlier = len(self.requests)
            self.requests.append(list(next(iter(inputs.values()))))
            self._now += 1
            self.most = max(self.most, self._now)
        try:
            return self.answer(earlier, inputs)
        finally:
            with self._lock:
                self._now -= 1

    def find(self, name, version):
        return 3, self

    def status(self, name, version):
        return {3: "AVAILABLE"}


def saying(status, body, to=":predict"):
    """Makes a handler that answers requests whose path ends in `to` with this status and body."""

    class Saying(stand_in.RestHandler):
        def respond(self, *correct):
            super().respond(*((status, body) if self.path.endswith(to) else correct))

    return Saying
