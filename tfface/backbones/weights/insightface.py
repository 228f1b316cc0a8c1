"""Weights of arcface_torch, InsightFace's training code, into our backbones and back.

Layers of the backbones bear the names of arcface_torch's modules, so a layer's name and its kind say which tensors of a
state dict are its own.
"""

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


def load_weights(model: keras.Model, path: str | os.PathLike) -> None:
    """Gives a backbone the weights of a file of arcface_torch.

    Args:
      model: keras.Model, a backbone of this package whose layers bear arcface_torch's names (all but ResNet50).
      path: of a state dict or a training checkpoint (.pt, .pth), which needs torch, or of an exported network (.onnx;
        not of the ViT), which needs onnx. Nothing in the file is executed.

    Raises:
      ValueError: the file is not of either kind, or its weights are not those of the model.
    """
    suffix = pathlib.Path(path).suffix
    if suffix not in (".pt", ".pth", ".onnx"):
        raise ValueError(f"{path}: not a .pt, .pth or .onnx file.")
    try:
        from_state_dict(model, read_onnx(model, path) if suffix == ".onnx" else read_state_dict(path))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def save_weights(model: keras.Model, path: str | os.PathLike) -> None:
    """Writes the weights of a backbone as a state dict that arcface_torch loads.

    Args:
      model: keras.Model, as for `load_weights`.
      path: of the .pt or .pth file, which is replaced if it exists. Needs torch.
    """
    import torch

    buffer = io.BytesIO()
    torch.save({key: torch.from_numpy(value) for key, value in to_state_dict(model).items()}, buffer)
    files.write_atomically(path, buffer.getvalue())


def read_state_dict(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads the tensors of a state dict or of a training checkpoint of arcface_torch.

    Returns:
      dict, name -> float32 array.

    Raises:
      ValueError: the file holds anything but tensors and plain values.
    """
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # Damage surfaces as errors of the archive, of the unpickler, or of torch.
        raise ValueError(f"not a file of weights alone ({type(error).__name__}).") from None
    if isinstance(state, dict):
        state = state.get("state_dict_backbone", state)
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ValueError("not a state dict, which holds tensors only.")
    # Checkpoints of distributed training have the wrapper's name before every other.
    return {key.removeprefix("module."): value.float().numpy() for key, value in state.items()}


def from_state_dict(model: keras.Model, state: dict[str, np.ndarray]) -> None:
    """Assigns the arrays of a state dict to the model's weights.

    Args:
      model: keras.Model, as for `load_weights`.
      state: dict, name -> array, in PyTorch's layout.

    Raises:
      ValueError: an array is missing, left over, or of the wrong shape; nothing has been assigned then.
    """
    wanted = list(tensors(model))
    for tensor in wanted:
        if tensor.key not in state:
            raise ValueError(f"{tensor.key} is missing.")
        if tuple(state[tensor.key].shape) != tensor.shape:
            raise ValueError(f"{tensor.key} has shape {tuple(state[tensor.key].shape)}, the model {tensor.shape}.")
    frozen = [f"{layer.name}.weight" for layer in scaleless(model)]
    left_over = {key for key in state if not key.endswith(_IGNORED)} - {tensor.key for tensor in wanted} - set(frozen)
    if left_over:
        raise ValueError(f"the model has no {min(left_over)} ({len(left_over)} such tensors).")
    for key in frozen:
        if not np.all(np.asarray(state.get(key, 1)) == 1):
            raise ValueError(f"{key} is not 1, at which arcface_torch freezes it.")
    for tensor in wanted:
        tensor.variable.assign(tensor.to_keras(np.asarray(state[tensor.key])))


def to_state_dict(model: keras.Model) -> dict[str, np.ndarray]:
    """Returns the model's weights as a state dict: name -> float32 array, in PyTorch's layout."""
    state = {tensor.key: tensor.to_torch(np.asarray(tensor.variable)) for tensor in tensors(model)}
    state |= {f"{layer.name}.weight": np.ones(layer.beta.shape) for layer in scaleless(model)}
    return {key: np.ascontiguousarray(value, np.float32) for key, value in state.items()}
