"""Runs a SavedModel through TensorFlow's C API, in a process that imports neither tensorflow nor tfface.

The C API loads with the C++ loader, the one of TensorFlow Serving. It is stricter than Python's: an export may load in
Python and yet lack its variables here. Tests call `run_signatures`; the child process executes this file.
"""

import ctypes
import importlib.util
import os
import pathlib
import pickle
import resource
import subprocess
import sys

import numpy as np

FLOAT, STRING, BOOL = 1, 7, 10  # TF_DataType
DTYPES = {FLOAT: np.float32, BOOL: np.bool_}
STRING_BYTES = 24  # sizeof(TF_TString)


def run_signatures(export_dir, calls, memory=None):
    """Calls signatures of a SavedModel in one fresh process.

    Args:
      export_dir: SavedModel folder.
      calls: list of (signature name, {input name: float32 array, or list of bytes}).
      memory: bytes of address space the calls may take beyond what the loaded SavedModel has; None: any number.

    Returns:
      List with one {output name: float32 or bool array} a call, or the error message (str) of a call that failed.

    Raises:
      RuntimeError: if the C++ loader refuses the SavedModel; the message is the loader's.
    """
    signatures = _signatures(export_dir)
    tensor_calls = []
    for name, inputs in calls:
        signature = signatures[name]
        feeds = {signature.inputs[key].name: value for key, value in inputs.items()}
        tensor_calls.append((feeds, {key: info.name for key, info in signature.outputs.items()}))
    request = pickle.dumps((str(export_dir), tensor_calls, memory))
    child = subprocess.run([sys.executable, __file__], input=request, capture_output=True, timeout=120)
    if child.returncode:
        raise RuntimeError(child.stderr.decode(errors="replace"))
    return pickle.loads(child.stdout)


def _signatures(export_dir):
    from tensorflow.core.protobuf import saved_model_pb2

    proto = saved_model_pb2.SavedModel.FromString((pathlib.Path(export_dir) / "saved_model.pb").read_bytes())
    return proto.meta_graphs[0].signature_def


class Output(ctypes.Structure):
    """TF_Output: one output of one operation."""

    _fields_ = [("operation", ctypes.c_void_p), ("index", ctypes.c_int)]


class Session:
    """A SavedModel loaded by TensorFlow's C++ loader."""

    def __init__(self, export_dir):
        self.lib = _library()
        self.status = self.lib.TF_NewStatus()
        self.graph = self.lib.TF_NewGraph()
        tags = (ctypes.c_char_p * 1)(b"serve")
        self.session = self.lib.TF_LoadSessionFromSavedModel(
            self.lib.TF_NewSessionOptions(), None, os.fsencode(export_dir), tags, 1, self.graph, None, self.status
        )
        self.check()

    def run(self, feeds, fetches):
        """Feeds {tensor name: value} and returns {key: array} for fetches {key: tensor name}."""
        inputs = (Output * len(feeds))(*map(self.output, feeds))
        values = (ctypes.c_void_p * len(feeds))(*map(self.tensor, feeds.values()))
        outputs = (Output * len(fetches))(*map(self.output, fetches.values()))
        results = (ctypes.c_void_p * len(fetches))()
        self.lib.TF_SessionRun(
            self.session, None, inputs, values, len(inputs), outputs, results, len(outputs), None, 0, None, self.status
        )
        self.check()
        return dict(zip(fetches, map(self.array, results), strict=True))

    def check(self):
        if self.lib.TF_GetCode(self.status):
            raise RuntimeError(self.lib.TF_Message(self.status).decode())

    def output(self, tensor_name):
        name, index = tensor_name.split(":")
        operation = self.lib.TF_GraphOperationByName(self.graph, name.encode())
        if not operation:
            raise RuntimeError(f"the graph has no operation {name}")
        return Output(operation, int(index))

    def tensor(self, value):
        if isinstance(value, np.ndarray):
            value = np.ascontiguousarray(value, np.float32)
            tensor = self.allocate(FLOAT, value.shape, value.nbytes)
            ctypes.memmove(self.lib.TF_TensorData(tensor), value.ctypes.data, value.nbytes)
            return tensor
        tensor = self.allocate(STRING, [len(value)], STRING_BYTES * len(value))
        for index, data in enumerate(value):
            string = self.lib.TF_TensorData(tensor) + STRING_BYTES * index
            self.lib.TF_StringInit(string)
            self.lib.TF_StringCopy(string, data, len(data))
        return tensor

    def allocate(self, dtype, shape, size):
        return self.lib.TF_AllocateTensor(dtype, (ctypes.c_int64 * len(shape))(*shape), len(shape), size)

    def array(self, tensor):
        dtype = DTYPES.get(self.lib.TF_TensorType(tensor))
        if dtype is None:
            raise RuntimeError(f"output has type {self.lib.TF_TensorType(tensor)}, neither float32 nor bool")
        shape = [self.lib.TF_Dim(tensor, axis) for axis in range(self.lib.TF_NumDims(tensor))]
        data = ctypes.string_at(self.lib.TF_TensorData(tensor), self.lib.TF_TensorByteSize(tensor))
        return np.frombuffer(data, dtype).reshape(shape)


def _library():
    # find_spec of a top-level package finds its folder without importing it.
    folder = pathlib.Path(importlib.util.find_spec("tensorflow").origin).parent
    # Most functions live in the framework library; it must be visible to the other one.
    ctypes.CDLL(str(folder / "libtensorflow_framework.so.2"), mode=ctypes.RTLD_GLOBAL)
    lib = ctypes.CDLL(str(folder / "libtensorflow_cc.so.2"), mode=ctypes.RTLD_GLOBAL)
    pointer, integer, long = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64
    for name, result, *arguments in [
        ("TF_NewStatus", pointer),
        ("TF_GetCode", integer, pointer),
        ("TF_Message", ctypes.c_char_p, pointer),
        ("TF_NewGraph", pointer),
        ("TF_NewSessionOptions", pointer),
        ("TF_LoadSessionFromSavedModel", pointer, *[pointer] * 2, ctypes.c_char_p, pointer, integer, *[pointer] * 3),
        ("TF_GraphOperationByName", pointer, pointer, ctypes.c_char_p),
        ("TF_AllocateTensor", pointer, integer, pointer, integer, ctypes.c_size_t),
        ("TF_TensorData", pointer, pointer),
        ("TF_TensorType", integer, pointer),
        ("TF_TensorByteSize", ctypes.c_size_t, pointer),
        ("TF_NumDims", integer, pointer),
        ("TF_Dim", long, pointer, integer),
        ("TF_StringInit", None, pointer),
        ("TF_StringCopy", None, pointer, ctypes.c_char_p, ctypes.c_size_t),
        ("TF_SessionRun", None, *[pointer] * 4, integer, pointer, pointer, integer, pointer, integer, pointer, pointer),
    ]:
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


def _serve():
    export_dir, calls, memory = pickle.load(sys.stdin.buffer)
    session = Session(export_dir)
    if memory is not None:
        pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, [pages * resource.getpagesize() + memory] * 2)
    results = []
    for feeds, fetches in calls:
        try:
            results.append(session.run(feeds, fetches))
        except RuntimeError as error:
            results.append(str(error))
    foreign = {"tensorflow", "keras", "tfface"} & sys.modules.keys()
    if foreign:
        raise RuntimeError(f"imported in the process that must not: {sorted(foreign)}")
    sys.stdout.buffer.write(pickle.dumps(results))


if __name__ == "__main__":
    _serve()
