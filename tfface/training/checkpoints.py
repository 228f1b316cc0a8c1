"""Checkpoints of a run: weights, optimizer, seeds and step, complete or absent."""

import pathlib
import re
import shutil

from tfface.classifier import collectives
from tfface.training.variable_files import read_shapes, read_variables, write_variables


class Checkpoints:
    """The newest checkpoints of a run: folders `step-N` in a folder.

    A checkpoint says nothing about replicas: what R of them wrote, any other number reads. It is made under a temporary
    name, renamed when complete, and only then are the oldest removed. With several workers, all call `save` and
    `restore`, and see the same folder.

    Args:
      folder: where the checkpoints are.
      model: FaceModel, compiled, with its optimizer built.
      keep: int, how many are kept.
    """

    def __init__(self, folder, model, keep=2):
        self.folder = pathlib.Path(folder)
        self.model = model
        self.keep = keep

    def save(self, step):
        """Writes a checkpoint of the current weights, made after `step` steps."""
        new, unfinished = self.folder / f"step-{step}", self.folder / f".step-{step}"
        with self.model.distribute_strategy.scope():
            if collectives.is_chief():
                shutil.rmtree(unfinished, ignore_errors=True)
                unfinished.mkdir(parents=True)
            collectives.barrier()
            write_variables(checkpoint_files(unfinished), _variables(self.model))
            if collectives.is_chief():
                shutil.rmtree(new, ignore_errors=True)
                unfinished.rename(new)
                for old in _checkpoints(self.folder)[: -self.keep]:
                    shutil.rmtree(old)
            collectives.barrier()

    def restore(self):
        """Restores the newest checkpoint.

        Returns:
          int, its step; 0 where there is no checkpoint.

        Raises:
          ValueError: the checkpoint is damaged or of another network, head or number of classes.
        """
        path = self.latest
        if path is None:
            return 0
        with self.model.distribute_strategy.scope():
            _read(path, _variables(self.model))
        return int(pathlib.Path(path).name.removeprefix("step-"))

    @property
    def latest(self):
        """Path of the newest checkpoint, None where there is none."""
        return latest_checkpoint(self.folder)


def latest_checkpoint(folder):
    """Returns the path of the newest checkpoint in a folder, None where there is none."""
    found = _checkpoints(pathlib.Path(folder))
    return str(found[-1]) if found else None


def restore_encoder(encoder, folder):
    """Restores an encoder from the newest checkpoint of a folder, from its averaged weights if it has them.

    Returns:
      str, path of the checkpoint.

    Raises:
      ValueError: there is none, or it is damaged or of another network.
    """
    path = latest_checkpoint(folder)
    if path is None:
        raise ValueError(f"{folder}: no checkpoint.")
    averaged = any(name.startswith("average/") for name in read_shapes(checkpoint_files(path)))
    _read(path, _numbered("average" if averaged else "encoder", encoder.variables))
    return path


def checkpoint_files(path):
    """Returns what the names of the files of a checkpoint begin with."""
    return pathlib.Path(path) / "variables"


def head_variables(model):
    """Returns the variables of a model's head by their names in checkpoints."""
    return _numbered("head", model.head.variables)


def _checkpoints(folder):
    """The checkpoints, in the order of their steps."""
    found = [path for path in folder.glob("step-*") if re.fullmatch(r"step-\d+", path.name)]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


def _variables(model):
    return {
        **_numbered("encoder", model.encoder.variables),
        **({} if model.ema_encoder is None else _numbered("average", model.ema_encoder.variables)),
        **head_variables(model),
        # Whose names begin with those of the layers, which depend on how many there were before.
        **_numbered("optimizer", model.optimizer.variables, lambda name: name.rpartition("_")[2]),
    }


def _numbered(group, variables, short=str):
    return {f"{group}/{number:04d}/{short(variable.name)}": variable for number, variable in enumerate(variables)}


def _read(path, variables):
    try:
        read_variables(checkpoint_files(path), variables)
    except ValueError as error:
        raise ValueError(f"{path}: cannot be restored into this model: {error}") from None
