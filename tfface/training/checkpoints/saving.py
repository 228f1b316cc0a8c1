"""Checkpoints of a run: weights, optimizer, seeds and step, complete or absent."""

import functools
import os
import pathlib
import re
import shutil

import keras
import tensorflow as tf

from tfface import progress
from tfface.distribute import collectives
from tfface.distribute.partitioned_variable import PartitionedVariable
from tfface.training.checkpoints.checksums import find_damage, write_checksums
from tfface.training.checkpoints.variable_files import read_shapes, read_variables, write_variables


class Checkpoints:
    """The newest checkpoints of a run: folders `step-N` in a folder.

    A checkpoint does not depend on the number of replicas: any number reads what another number wrote. It is made under
    a temporary name and renamed when complete; only then are the oldest removed. With several workers, all call `save`
    and `restore` and see the same folder.

    Args:
      folder: path of the folder of the checkpoints.
      model: FaceModel, compiled, with its optimizer built.
      keep: int, number of checkpoints that are kept.
    """

    def __init__(self, folder: str | os.PathLike, model: keras.Model, keep: int = 2):
        self.folder = pathlib.Path(folder)
        self.model = model
        self.keep = keep

    def save(self, step: int) -> None:
        """Writes a checkpoint of the current weights, made after `step` steps.

        Raises:
          ValueError: a weight or a value of the optimizer is not finite, or a file cannot be written; earlier
            checkpoints stay.
        """
        new, unfinished = self.folder / f"step-{step}", self.folder / f".step-{step}"
        with self.model.distribute_strategy.scope():
            variables = _variables(self.model)
            self._check_finite(variables, step)
            if collectives.is_chief():
                shutil.rmtree(unfinished, ignore_errors=True)
                unfinished.mkdir(parents=True)
            collectives.barrier()
            try:
                variables = {**variables, **_metrics(self.model), **_forests(self.model)}
                write_variables(checkpoint_files(unfinished), variables)
                if collectives.is_chief():
                    write_checksums(unfinished)
                    shutil.rmtree(new, ignore_errors=True)
                    unfinished.rename(new)
                    for old in _checkpoints(self.folder)[: -self.keep]:
                        shutil.rmtree(old)
            except tf.errors.OpError as error:
                reason = error.message.strip().splitlines()[-1]
                raise ValueError(f"{new}: the checkpoint cannot be written: {reason}") from None
            finally:
                if collectives.is_chief():
                    shutil.rmtree(unfinished, ignore_errors=True)
            collectives.barrier()

    def restore(self, strict: bool = False) -> int:
        """Restores the newest checkpoint that is not damaged; later ones are renamed `damaged-step-N`.

        Args:
          strict: bool, raise an error for a damaged checkpoint.

        Returns:
          int, its step; 0 without a checkpoint.

        Raises:
          ValueError: the checkpoint is of another network, head or number of classes; all are damaged, or one is and
            `strict`.
        """
        with self.model.distribute_strategy.scope():
            found, damaged = _checkpoints(self.folder), []
            while found:
                damage = find_damage(found[-1])
                # No worker uses a checkpoint that another cannot read.
                if not collectives.sum_over_workers(damage is not None):
                    break
                damage = damage or "another worker finds it damaged"
                if strict:
                    raise ValueError(f"{found[-1]} is damaged: {damage}.")
                damaged.append((found.pop(), damage))
            if damaged and not found:
                raise _all_damaged(damaged)
            for path, damage in damaged:
                progress.note(f"{path} is damaged: {damage}. The run continues from {found[-1].name}.")
            if found:
                _read(found[-1], _variables(self.model))
                _read_forests(found[-1], _forests(self.model))
            collectives.barrier()
            if collectives.is_chief():
                # Renamed, because `keep` counts checkpoints from the newest.
                for path, _ in damaged:
                    shutil.rmtree(path.with_name(f"damaged-{path.name}"), ignore_errors=True)
                    path.rename(path.with_name(f"damaged-{path.name}"))
                for path in self.folder.glob(".step-*"):
                    shutil.rmtree(path)
        return checkpoint_step(found[-1]) if found else 0

    def restore_metrics(self) -> None:
        """Restores the sum of the loss since the last line of the log; called after `fit` has cleared it.

        A checkpoint of release 0.1 has no sum: a new one begins.
        """
        path, metrics = self.latest, _metrics(self.model)
        if path is not None and read_shapes(checkpoint_files(path)).keys() >= metrics.keys():
            with self.model.distribute_strategy.scope():
                _read(path, metrics)

    @property
    def latest(self) -> str | None:
        """Path of the newest checkpoint, or None."""
        return latest_checkpoint(self.folder)

    def _check_finite(self, variables, step):
        bad = [name for name, variable in variables.items() if not _is_finite(variable)]
        if collectives.sum_over_workers(len(bad)):
            names = f" ({bad[0]}{f' and {len(bad) - 1} more' if bad[1:] else ''})" if bad else ""
            last = _checkpoints(self.folder)
            kept = f"the newest checkpoint is {last[-1]}" if last else "there is no checkpoint before"
            raise ValueError(
                f"weights are not finite after step {step}{names}, so no checkpoint is written; {kept}. "
                "A smaller learning rate or a longer warm-up may help."
            )


def latest_checkpoint(folder: str | os.PathLike) -> str | None:
    """Returns the path of the newest checkpoint in a folder that is not damaged, or None without a checkpoint.

    Raises:
      ValueError: all checkpoints are damaged.
    """
    damaged: list[tuple[pathlib.Path, str]] = []
    for path in reversed(_checkpoints(pathlib.Path(folder))):
        damage = find_damage(path)
        if damage is None:
            for other, reason in damaged:
                _note_once(f"{other} is damaged: {reason}. {path.name} is used instead.")
            return str(path)
        damaged.append((path, damage))
    if damaged:
        raise _all_damaged(damaged)
    return None


def checkpoint_step(path: str | os.PathLike) -> int:
    """Returns the number of steps after which the checkpoint at this path was made."""
    return int(pathlib.Path(path).name.removeprefix("step-"))


def restore_encoder(encoder: keras.Model, folder: str | os.PathLike) -> str:
    """Restores an encoder from the newest checkpoint of a folder, from its averaged weights if it has them.

    Returns:
      str, path of the checkpoint.

    Raises:
      ValueError: there is none, or it is damaged or of another network.
    """
    path = _newest(folder)
    averaged = any(name.startswith("average/") for name in read_shapes(checkpoint_files(path)))
    _read(path, _numbered("average" if averaged else "encoder", encoder.variables))
    return path


def restore_head(head: keras.layers.Layer, folder: str | os.PathLike) -> str:
    """Restores a head that is built, with all of its classes on one device, from the newest checkpoint of a folder.

    Returns:
      str, path of the checkpoint.

    Raises:
      ValueError: there is none, or it is damaged or of another head.
    """
    path = _newest(folder)
    _read(path, _numbered("head", head.variables))
    return path


def checkpoint_files(path: str | os.PathLike) -> pathlib.Path:
    """Returns the path prefix of the files of a checkpoint."""
    return pathlib.Path(path) / "variables"


def head_variables(model: keras.Model) -> dict[str, keras.Variable]:
    """Returns the variables of a model's head by their names in checkpoints."""
    return _numbered("head", model.head.variables)


def _newest(folder):
    path = latest_checkpoint(folder)
    if path is None:
        raise ValueError(f"{folder}: no checkpoint.")
    return path


def _checkpoints(folder):
    """The checkpoints, in the order of their steps."""
    found = [path for path in folder.glob("step-*") if re.fullmatch(r"step-\d+", path.name)]
    return sorted(found, key=checkpoint_step)


def _all_damaged(damaged):
    path, damage = damaged[0]
    others = f", and so are the {len(damaged) - 1} before it" if damaged[1:] else ""
    return ValueError(f"{path} is damaged: {damage}{others}; no checkpoint can be restored.")


@functools.cache
def _note_once(text):
    progress.note(text)


def _variables(model):
    return {
        **_numbered("encoder", model.encoder.variables),
        **({} if model.ema_encoder is None else _numbered("average", model.ema_encoder.variables)),
        **head_variables(model),
        # Only the end of the name: its beginning depends on how many layers were made before.
        **_numbered("optimizer", model.optimizer.variables, lambda name: name.rpartition("_")[2]),
    }


def _metrics(model):
    """The sum of the loss since the last line of the log, so that a resumed run writes the same next line."""
    return _numbered("metrics", [variable for metric in model.metrics for variable in metric.variables])


def _forests(model):
    """Variables of the forests that samplers search, one forest for each shard of the class weights."""
    samplers = [sampler for _, sampler in getattr(model.head, "samplers", [])]
    return _numbered("sampler", [variable for sampler in samplers for variable in sampler.variables])


def _read_forests(path, variables):
    """Reads forests, unless they are of another number of replicas or of a release that did not save them."""
    shapes = read_shapes(checkpoint_files(path))
    if all(shapes.get(name) == list(variable.shape) for name, variable in variables.items()):
        _read(path, variables)


def _numbered(group, variables, short=str):
    return {f"{group}/{number:04d}/{short(variable.name)}": variable for number, variable in enumerate(variables)}


def _is_finite(variable):
    if not tf.as_dtype(variable.dtype).is_floating:
        return True
    # Each worker looks at its own rows.
    own = (rows for _, rows in variable.local_blocks()) if isinstance(variable, PartitionedVariable) else [variable]
    return all(bool(tf.reduce_all(tf.math.is_finite(tf.convert_to_tensor(values)))) for values in own)


def _read(path, variables):
    try:
        read_variables(checkpoint_files(path), variables)
    except ValueError as error:
        raise ValueError(f"{path}: cannot be restored into this model: {error}") from None
