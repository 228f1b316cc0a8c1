"""Weights of arcface_torch, InsightFace's training code, into our backbones and back.

Layers of the backbones bear the names of arcface_torch's modules, so a layer's name and its kind say which tensors of a
state dict are its own.
"""

import errno
import importlib
import io
import os
import pathlib

import keras
import numpy as np

from tfface import files
from tfface.backbones.weights.insightface_onnx import read_onnx
from tfface.backbones.weights.torch_layout import scaleless, tensors

# Batch counters, and the token that replaces masked tokens in arcface_torch's training of its ViT.
_IGNORED = ("num_batches_tracked", "mask_token")
# Names that training programs give to the network in a checkpoint.
_NETWORKS = ("state_dict_backbone", "state_dict", "model_state_dict", "backbone", "model", "encoder", "net", "network")
_SUFFIXES = (".pt", ".pth", ".onnx", ".safetensors")


def load_weights(model: keras.Model, path: str | os.PathLike) -> None:
    """Gives a backbone the weights of a file of arcface_torch.

    Args:
      model: keras.Model, a backbone of this package whose layers bear arcface_torch's names (all but ResNet50).
      path: of a state dict or a training checkpoint (.pt, .pth), which needs torch, of a state dict in .safetensors,
        which needs safetensors, or of an exported network (.onnx), which needs onnx. Nothing in the
        file is executed.

    Raises:
      ValueError: the file is not of these kinds, its package is missing, or its weights are not those of the model.
    """
    suffix = pathlib.Path(path).suffix
    if suffix not in _SUFFIXES:
        raise ValueError(f"{path}: not a {', '.join(_SUFFIXES[:-1])} or {_SUFFIXES[-1]} file.")
    try:
        if suffix == ".onnx":
            _package("onnx")
            state = read_onnx(model, path)
        else:
            state = _read_safetensors(path) if suffix == ".safetensors" else read_state_dict(path)
        from_state_dict(model, state)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _package(name):
    try:
        return importlib.import_module(name)
    except ImportError:
        package = name.partition(".")[0]
        raise ValueError(f"needs the package {package}: pip install 'tfface[import]'.") from None


def save_weights(model: keras.Model, path: str | os.PathLike) -> None:
    """Writes the weights of a backbone as a state dict that arcface_torch loads.

    Args:
      model: keras.Model, as for `load_weights`.
      path: of the .pt or .pth file, which is replaced if it exists. Needs torch.
    """
    torch = _package("torch")
    buffer = io.BytesIO()
    torch.save({key: torch.from_numpy(value) for key, value in to_state_dict(model).items()}, buffer)
    files.write_atomically(path, buffer.getvalue())


def read_state_dict(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads the tensors of a state dict or of a training checkpoint of arcface_torch.

    Returns:
      dict, name -> float32 array, without a prefix that all names share, such as "module.".

    Raises:
      ValueError: the file holds anything but tensors and plain values, or no state dict.
    """
    torch = _package("torch")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # Damage surfaces as errors of the archive, of the unpickler, or of torch.
        raise ValueError(f"not a file of weights alone ({type(error).__name__}).") from None
    state = _network(content, torch.Tensor)
    return _without_prefix({key: value.detach().float().numpy() for key, value in state.items()})


def _network(content, tensor):
    """Finds the state dict of the network in what a file holds."""

    def is_state(value):
        return isinstance(value, dict) and bool(value) and all(isinstance(each, tensor) for each in value.values())

    if is_state(content):
        return content
    if not isinstance(content, dict):
        raise ValueError(f"not a state dict, which holds tensors only, but a {type(content).__name__}.")
    states = [key for key, value in content.items() if is_state(value)]
    chosen = [key for key in _NETWORKS if key in states] or (states if len(states) == 1 else [])
    if not chosen:
        found = ", ".join(map(str, list(content)[:8])) or "nothing"
        raise ValueError(f"not a state dict, which holds tensors only, and none is under its keys: {found}.")
    return content[chosen[0]]


def _without_prefix(state):
    # Wrappers, such as that of distributed training, put their name before every other.
    common = os.path.commonprefix(list(state))
    start = common.rfind(".") + 1
    return {key[start:]: value for key, value in state.items()}


def _read_safetensors(path):
    safetensors = _package("safetensors.numpy")
    if not os.path.isfile(path):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    try:
        state = safetensors.load_file(path)
    except OSError:
        raise
    except Exception as error:  # The library's errors have no common base.
        raise ValueError(f"not a .safetensors file that can be read ({files.short_reason(error)}).") from None
    return _without_prefix({key: np.asarray(value, np.float32) for key, value in state.items()})


def from_state_dict(model: keras.Model, state: dict[str, np.ndarray]) -> None:
    """Assigns the arrays of a state dict to the model's weights.

    Args:
      model: keras.Model, as for `load_weights`.
      state: dict, name -> array, in PyTorch's layout.

    Raises:
      ValueError: an array is missing, left over, or of the wrong shape; nothing has been assigned then.
    """
    state = _scale_absorbed(model, state)
    wanted = list(tensors(model))
    for tensor in wanted:
        if tensor.key not in state:
            found = ", ".join(list(state)[:3]) or "nothing"
            raise ValueError(f"{tensor.key} is missing; it has {len(state)} tensors: {found}, ...")
        if tuple(state[tensor.key].shape) != tensor.shape:
            raise ValueError(f"{tensor.key} has shape {tuple(state[tensor.key].shape)}, the model {tensor.shape}.")
    left_over = {key for key in state if not key.endswith(_IGNORED)} - {tensor.key for tensor in wanted}
    if left_over:
        raise ValueError(f"the model has no {min(left_over)} ({len(left_over)} such tensors).")
    for tensor in wanted:
        tensor.variable.assign(tensor.to_keras(np.asarray(state[tensor.key])))


def _scale_absorbed(model, state):
    """Moves the scale of a normalisation that has none in the model, and follows a dense layer, into that layer.

    arcface_torch freezes this scale at 1, others train it. With y = γ (x − μ) / sqrt(var + ε) + β, γ x and γ μ in place
    of x and μ give the same y, whatever the sign of γ.
    """
    state = dict(state)
    for layer in scaleless(model):
        scale = np.asarray(state.pop(f"{layer.name}.weight", np.ones(layer.beta.shape)))
        if scale.shape != tuple(layer.beta.shape):
            raise ValueError(f"{layer.name}.weight has shape {scale.shape}, the model {tuple(layer.beta.shape)}.")
        if np.all(scale == 1):
            continue
        dense = next(each for each in model.layers if each.output is layer.input)
        for key in (f"{dense.name}.weight", f"{dense.name}.bias", f"{layer.name}.running_mean"):
            if key in state and len(state[key]) == len(scale):  # Other lengths are refused as such.
                state[key] = (np.asarray(state[key]).T * scale).T
    return state


def to_state_dict(model: keras.Model) -> dict[str, np.ndarray]:
    """Returns the model's weights as a state dict: name -> float32 array, in PyTorch's layout."""
    state = {tensor.key: tensor.to_torch(np.asarray(tensor.variable)) for tensor in tensors(model)}
    state |= {f"{layer.name}.weight": np.ones(layer.beta.shape) for layer in scaleless(model)}
    return {key: np.ascontiguousarray(value, np.float32) for key, value in state.items()}
