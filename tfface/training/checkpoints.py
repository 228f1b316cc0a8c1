"""Checkpoints of a run: weights, optimizer, seeds and step, complete or absent."""

import pathlib

import tensorflow as tf


class Checkpoints:
    """The newest checkpoints of a run, in a folder.

    A checkpoint holds encoder and head apart, so that the encoder can be read without the head. TensorFlow writes the
    files under temporary names, makes the new checkpoint known last, and only then removes the oldest.

    Args:
      folder: where the checkpoints are.
      model: FaceModel, compiled, with its optimizer built.
      keep: int, how many are kept.
    """

    def __init__(self, folder, model, keep=2):
        # Which Keras keeps beside the layers: without them dropout and class samplers would start anew on a resume.
        seeds = [variable.value for variable in model.variables if variable.path.endswith("seed_generator_state")]
        checkpoint = tf.train.Checkpoint(encoder=model.encoder, head=model.head, optimizer=model.optimizer, seeds=seeds)
        self._manager = tf.train.CheckpointManager(checkpoint, str(folder), keep, checkpoint_name="step")

    def save(self, step):
        """Writes a checkpoint of the current weights, made after `step` steps."""
        self._manager.save(checkpoint_number=step)

    def restore(self):
        """Restores the newest checkpoint.

        Returns:
          int, its step; 0 where there is no checkpoint.

        Raises:
          ValueError: the checkpoint is damaged or of another network or head.
        """
        path = self._manager.latest_checkpoint
        if path is None:
            return 0
        try:
            self._manager.checkpoint.restore(path).assert_existing_objects_matched()
        except (AssertionError, IndexError, ValueError, tf.errors.OpError) as error:
            raise ValueError(f"{path}: cannot be restored into this model: {_first_line(error)}") from None
        return int(path.rpartition("-")[2])

    @property
    def latest(self):
        """Path of the newest checkpoint, None where there is none."""
        return self._manager.latest_checkpoint


def restore_encoder(encoder, folder):
    """Restores an encoder from the newest checkpoint of a folder.

    Returns:
      str, path of the checkpoint.

    Raises:
      ValueError: there is none, or it is damaged or of another network.
    """
    path = tf.train.latest_checkpoint(str(folder)) if pathlib.Path(folder).is_dir() else None
    if path is None:
        raise ValueError(f"{folder}: no checkpoint.")
    try:
        status = tf.train.Checkpoint(encoder=encoder).restore(path)
        status.assert_existing_objects_matched().expect_partial()
    except (AssertionError, IndexError, ValueError, tf.errors.OpError) as error:
        raise ValueError(f"{path}: cannot be restored into {encoder.name}: {_first_line(error)}") from None
    return path


def _first_line(error):
    return str(error).strip().splitlines()[0]
