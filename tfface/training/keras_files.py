"""Untrusted `.keras` files: checked before Keras builds anything from them; their code never runs."""

import io
import os
import re

import h5py
import keras

from tfface import json_files
from tfface.files import Unreadable, open_regular, short_reason
from tfface.zip_files import DAMAGED, open_archive

_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"
_MAX_CONFIG_BYTES = 32 << 20
_FORM = {"module": json_files.Either(None, str), "class_name": str, "config": {str: object}, ...: object}
_MAX_GROWTH, _SLACK = 4, 1 << 20  # An unpacked file may be at most this many times as large; weights hardly shrink.

# Modules of Keras with the parts of networks. From others, such as keras.utils, a file could call any function.
_MODULES = re.compile(
    r"keras(\.(layers|initializers|regularizers|constraints|activations|optimizers|losses|metrics|dtype_policies|models)"
    r"|\.src\.(models|ops|layers|initializers|optimizers)\.[\w.]+)?"
)
_FUNCTIONS = "keras.activations"
_RUN_CODE = {"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}
_VALUES = {"__keras_tensor__", "__tensor__", "__numpy__", "__ellipsis__"}
_OWN = re.compile(r"tfface(\.\w+)+")


def load_model(path: str | os.PathLike) -> keras.Model:
    """Loads a `.keras` file.

    Args:
      path: of the file.

    Returns:
      keras.Model, not compiled.

    Raises:
      ValueError: it is not such a file, needs a class that is not registered, or would run code; the message has the
        file and the reason.
      OSError: it cannot be read.
    """
    _check(path)
    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    # A configuration can be wrong in countless ways, and Keras passes on whatever exception it meets.
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:300].rstrip(".")
        raise ValueError(f"{path}: not a .keras file that can be read ({reason}).") from error
    if not isinstance(model, keras.Model):
        raise Unreadable(path, f"expected a model, got a {type(model).__name__}")
    return model


def read_config(path: str | os.PathLike) -> dict:
    """Reads the configuration in a `.keras` file.

    Returns:
      dict with `class_name` and `config`, as Keras serializes a model.

    Raises:
      ValueError: it is not such a file.
      OSError: it cannot be read.
    """
    with open_regular(path) as file, open_archive(path, file) as archive:
        data = _member(path, archive, _CONFIG, _MAX_CONFIG_BYTES)
    return json_files.parse(data, f"{path}, {_CONFIG}", _FORM)


def _check(path):
    _check_classes(path, read_config(path))
    with open_regular(path) as file, open_archive(path, file) as archive:
        limit = _MAX_GROWTH * file.seek(0, io.SEEK_END) + _SLACK
        total = sum(info.file_size for info in archive.infolist())
        if total > limit:
            raise Unreadable(path, f"its members claim {total} bytes, more than {limit} for a file of its size")
        _check_weights(path, _member(path, archive, _WEIGHTS, limit))


def _member(path, archive, name, limit):
    try:
        info = archive.getinfo(name)
        if info.file_size > limit:
            raise Unreadable(path, f"{name} claims {info.file_size} bytes, more than {limit}")
        return archive.read(info)
    except KeyError:
        raise Unreadable(path, f"not a .keras file, it has no {name}") from None
    except Unreadable:
        raise
    except (*DAMAGED, ValueError, OSError) as error:
        raise Unreadable(path, f"{name} is damaged ({short_reason(error)})") from error


def _check_classes(path, value):
    """Refuses classes that Keras would find by importing a module that the file names."""
    if isinstance(value, list):
        for each in value:
            _check_classes(path, each)
    elif isinstance(value, dict):
        if "class_name" in value and "config" in value:
            _check_class(path, value)
        for each in value.values():
            _check_classes(path, each)


def _check_class(path, value):
    name, module, registered = (value.get(key) for key in ("class_name", "module", "registered_name"))
    if not isinstance(name, str) or not isinstance(module, str | None) or not isinstance(registered, str | None):
        raise Unreadable(path, f"expected the names of a class and its module, got {str((name, module))[:200]}")
    if name == "__lambda__" or name in _RUN_CODE:
        raise Unreadable(path, f"its {name} would run code from the file")
    if name in _VALUES and module is None:
        return
    if name == "function":
        if module != _FUNCTIONS and keras.saving.get_registered_object(str(value["config"])) is None:
            raise Unreadable(path, f"its function {str(value['config'])[:200]!r} is not registered")
        return
    if module is not None and _MODULES.fullmatch(module):
        return
    if module is not None and _OWN.fullmatch(module):
        # A file of an earlier release may name another module.
        if keras.saving.get_registered_object(registered or name) is None:
            raise Unreadable(path, f"class {name!r} of {module!r} is not one of this version of tfface")
        return
    if keras.saving.get_registered_object(registered or name) is None:
        raise Unreadable(
            path,
            f"class {(registered or name)[:200]!r} is not registered: import the module that defines it, with "
            "@keras.saving.register_keras_serializable, before loading the file",
        )


def _check_weights(path, data):
    """Refuses weights that claim more bytes than are stored, or that are in other files."""
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            total = _count_bytes(path, file)
    except Unreadable:
        raise
    except Exception as error:  # HDF5 meets damage with many types.
        raise Unreadable(path, f"{_WEIGHTS} is damaged ({type(error).__name__})") from error
    if total > _MAX_GROWTH * len(data) + _SLACK:
        raise Unreadable(path, f"{_WEIGHTS} claims {total} bytes of weights, but has {len(data)}")


def _count_bytes(path, root):
    total, seen, waiting = 0, set(), [root]
    while waiting:
        group = waiting.pop()
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise Unreadable(path, f"{_WEIGHTS}: {name[:200]!r} is a link")
            found = group[name]
            # Groups may hold each other.
            address = h5py.h5o.get_info(found.id).addr
            if address in seen:
                continue
            seen.add(address)
            if isinstance(found, h5py.Group):
                waiting.append(found)
            elif isinstance(found, h5py.Dataset):
                if found.external or found.is_virtual or found.dtype.hasobject:
                    raise Unreadable(path, f"{_WEIGHTS}: {name[:200]!r} is not an array of numbers in this file")
                total += found.size * found.dtype.itemsize if found.shape is not None else 0
    return total
