"""Warm start: a training begins with the weights of another one, also with other identities."""

import json
import os
import pathlib
from collections.abc import Sequence

import keras
import numpy as np

from tfface import files, json_files
from tfface.distribute.class_rows import shards
from tfface.training import keras_files
from tfface.training.checkpoints.saving import checkpoint_files, head_variables, restore_encoder
from tfface.training.checkpoints.variable_files import read_rows, read_shapes

_FILE = "identities.json"
_ROWS_AT_ONCE = 65_536


def write_identities(run_dir: str | os.PathLike, identities: Sequence[str]) -> None:
    """Writes the identities of the rows of the class weights, in their order, into the folder of a run."""
    files.write_atomically(pathlib.Path(run_dir) / _FILE, json.dumps(list(identities), ensure_ascii=False).encode())


def read_identities(run_dir: str | os.PathLike) -> list[str]:
    """Reads what `write_identities` wrote, a list of str; raises ValueError without such a file."""
    path = pathlib.Path(run_dir) / _FILE
    try:
        return json_files.read(path, [str])
    except OSError as error:
        raise ValueError(f"{path}: the names of a run's identities cannot be read: {error.strerror}.") from None


def warm_start(
    model: keras.Model, identities: Sequence[str], source: str | os.PathLike, with_head: bool = True
) -> None:
    """Copies a network and, from a run, the class weights of the identities that this training has too.

    Other identities keep their initial class weights. The optimizer and other variables of the head start again.

    Args:
      model: FaceModel with the same network; its head may be another.
      identities: sequence of str, the identities of the rows of its class weights.
      source: folder of the other run, or `.keras` file of an encoder or a FaceModel.
      with_head: bool, copy class weights.

    Raises:
      ValueError: `source` is neither, or its network is another.
    """
    source = pathlib.Path(source)
    if source.suffix == ".keras":
        _copy_network(model.encoder, source)
        checkpoint = None
    else:
        checkpoint = restore_encoder(model.encoder, source / "checkpoints")
    if model.ema_encoder is not None:
        model.ema_encoder.set_weights(model.encoder.get_weights())
    if with_head and checkpoint is not None:
        _copy_class_weights(model, identities, checkpoint_files(checkpoint), read_identities(source))


def _copy_network(encoder, path):
    if not path.is_file():
        raise ValueError(f"{path}: no such file.")
    source = keras_files.load_model(path)
    weights = getattr(source, "final_encoder", source).get_weights()
    if len(weights) != len(encoder.weights):
        raise ValueError(
            f"{path}: its network is another: {len(weights)} arrays of weights, not {len(encoder.weights)}."
        )
    for array, variable in zip(weights, encoder.weights, strict=True):
        if array.shape != tuple(variable.shape):
            raise ValueError(
                f"{path}: its network is another: {variable.path} has shape {array.shape}, not {tuple(variable.shape)}."
            )
    encoder.set_weights(weights)


def _copy_class_weights(model, identities, prefix, names):
    row_of = {name: row for row, name in enumerate(names)}
    sources = np.array([row_of.get(name, -1) for name in identities])
    old_shapes = read_shapes(prefix)
    for name, variable in head_variables(model).items():
        # Queues of past embeddings have rows too.
        if not variable.trainable:
            continue
        old_shape = old_shapes.get(name, [0])
        rows_per_class, rest = divmod(variable.shape[0], len(sources)) if variable.shape.rank else (0, 0)
        if rest or old_shape != [rows_per_class * len(names), *variable.shape[1:]]:
            continue
        rows = sources[:, None] * rows_per_class + np.arange(rows_per_class)
        rows = np.where(sources[:, None] < 0, -1, rows).ravel()
        for start, shard in shards(variable):
            values = shard.numpy()
            _copy_rows(prefix, name, old_shape, rows[start : start + len(values)], values)
            shard.assign(values)


def _copy_rows(prefix, name, shape, rows, values):
    """Fills `values` with rows of a saved variable, except where `rows` is -1; reads it piece by piece."""
    for start in range(0, shape[0], _ROWS_AT_ONCE):
        piece = read_rows(prefix, name, shape, start, min(_ROWS_AT_ONCE, shape[0] - start)).numpy()
        there = (rows >= start) & (rows < start + len(piece))
        values[there] = piece[rows[there] - start]
