"""Keras callbacks that count in steps: log, verification, checkpoints."""

import math
import os
import pathlib
import time
from collections.abc import Iterable

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfface import files, interrupts, progress
from tfface.distribute import collectives


class StepCallback(keras.callbacks.Callback):
    """Base of callbacks that act after every `every` steps of the whole run, whatever Keras calls an epoch.

    Args:
      every: int, steps between two calls of `at_step`.
      start_step: int, steps made before this `fit`.
      total_steps: int, steps of the run; `at_step` is called after the last one too.
    """

    def __init__(self, every: int, start_step: int, total_steps: int):
        super().__init__()
        self.every = every
        self.step = start_step
        self.total_steps = total_steps

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        if self.step % self.every == 0 or self.step == self.total_steps:
            self.at_step(self.step, logs)

    def at_step(self, step: int, logs) -> None:
        raise NotImplementedError


class StepLog(StepCallback):
    """Shows progress and writes the mean loss since the last line to `log.csv` and TensorBoard.

    Args:
      folder: of the run.
      schedule: learning rate as a function of the step.
      batch_size: int, for images per second.
      every: int, of `StepCallback`.
      start_step: int, of `StepCallback`.
      total_steps: int, of `StepCallback`.
      write: bool; False on all workers but one: the others check and clear the loss too, but write nothing.

    Raises:
      ValueError: the loss is not finite; the message names the steps.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        schedule,
        batch_size: int,
        every: int,
        start_step: int,
        total_steps: int,
        write: bool = True,
    ):
        super().__init__(every, start_step, total_steps)
        self.schedule = schedule
        self.batch_size = batch_size
        self.write = write
        if not write:
            return
        columns = ("step", "loss", "learning_rate", "images_per_second")
        self.log = CsvLog(pathlib.Path(folder) / "log.csv", columns, start_step)
        self.writer = tf.summary.create_file_writer(str(pathlib.Path(folder) / "tensorboard"))

    def on_train_begin(self, logs=None):
        # The other workers often share the terminal.
        self.bar = progress.bar(
            total=self.total_steps, initial=self.step, desc="train", unit=" steps", disable=not self.write
        )
        self.since, self.since_step = time.perf_counter(), self.step

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, logs)
        self.bar.update()

    def close(self) -> None:
        """Ends the progress bar; Keras does not tell callbacks of a `fit` that fails."""
        self.bar.close()
        if self.write:
            self.writer.close()

    def at_step(self, step: int, logs) -> None:
        # With several workers, the same mean comes several times.
        loss = float(np.mean(logs["loss"]))
        if not math.isfinite(loss):
            raise ValueError(
                f"the loss became {loss} within steps {self.since_step + 1} to {step}: "
                "a smaller learning rate or a longer warm-up may help."
            )
        if self.write:
            self._write(step, loss)
        # Keras would average over all steps of this fit.
        self.model.reset_metrics()
        self.since, self.since_step = time.perf_counter(), step

    def _write(self, step, loss):
        rate = float(self.schedule(step - 1))
        speed = (step - self.since_step) * self.batch_size / (time.perf_counter() - self.since)
        self.log.append(step, repr(loss), f"{rate:.6g}", f"{speed:.1f}")
        with self.writer.as_default(step):
            tf.summary.scalar("train/loss", loss)
            tf.summary.scalar("train/learning_rate", rate)
            tf.summary.scalar("train/images_per_second", speed)
        self.bar.set_postfix_str(f"loss {loss:.3f}, {speed:.0f} images/s", refresh=False)


class Verification(StepCallback):
    """Measures verification accuracy on held-out pairs; writes `verification.csv` and TensorBoard.

    Args:
      folder: of the run.
      verify: function () -> list of `VerificationResult`.
      every: int, of `StepCallback`.
      start_step: int, of `StepCallback`.
      total_steps: int, of `StepCallback`.
    """

    def __init__(self, folder: str | os.PathLike, verify, every: int, start_step: int, total_steps: int):
        super().__init__(every, start_step, total_steps)
        self.verify = verify
        self.log = CsvLog(pathlib.Path(folder) / "verification.csv", ("step", "pairs", "accuracy", "std"), start_step)
        self.writer = tf.summary.create_file_writer(str(pathlib.Path(folder) / "tensorboard"))

    def at_step(self, step: int, logs) -> None:
        self.record(step, self.verify())

    def record(self, step: int, results: Iterable) -> None:
        """Writes results that the weights after `step` steps gave."""
        with self.writer.as_default(step):
            for result in results:
                accuracy = result.accuracy
                self.log.append(step, result.name, f"{accuracy.mean:.6f}", f"{accuracy.std:.6f}")
                tf.summary.scalar(f"verification/{result.name}", accuracy.mean)
                tqdm.write(f"step {step}: {result.name} accuracy {accuracy.mean:.2%} ± {accuracy.std:.2%}")
        self.writer.flush()


class SaveCheckpoints(StepCallback):
    """Saves checkpoints, and continues the sums of the newest one.

    Args:
      checkpoints: `Checkpoints`.
      every: int, of `StepCallback`.
      start_step: int, of `StepCallback`.
      total_steps: int, of `StepCallback`.
    """

    def __init__(self, checkpoints, every: int, start_step: int, total_steps: int):
        super().__init__(every, start_step, total_steps)
        self.checkpoints = checkpoints

    def on_epoch_begin(self, epoch, logs=None):
        # There is one epoch; before it Keras has cleared all sums.
        self.checkpoints.restore_metrics()

    def at_step(self, step: int, logs) -> None:
        self.checkpoints.save(step)


class EndWhenAsked(StepCallback):
    """Ends the training when a signal has asked for it: after the same step on all workers, with a checkpoint.

    Args:
      request: `interrupts.Postponed`.
      checkpoints: `Checkpoints`.
      start_step: int, of `StepCallback`.
      total_steps: int, of `StepCallback`.

    Raises:
      Interrupted: a worker got the signal; the message names the saved step.
    """

    def __init__(self, request, checkpoints, start_step: int, total_steps: int):
        super().__init__(1, start_step, total_steps)
        self.request = request
        self.checkpoints = checkpoints

    def at_step(self, step: int, logs) -> None:
        asked = collectives.sum_over_workers([self.request.signum == signum for signum in interrupts.SIGNALS])
        if asked.any():
            signum = interrupts.SIGNALS[int(np.argmax(asked))]
            self.checkpoints.save(step)
            raise interrupts.Interrupted(signum, f"step {step} is saved; the same command with --resume continues.")


class CsvLog:
    """A CSV file to which rows are appended; the first column is the step.

    A resumed run first drops the rows after its checkpoint (and a last line that an interruption cut), so that the file
    is the curve of one uninterrupted run.

    Args:
      path: path of the file.
      columns: names, the first is "step".
      start_step: int, rows of later steps are dropped.
    """

    def __init__(self, path: str | os.PathLike, columns, start_step: int):
        self.path = pathlib.Path(path)
        lines = self.path.read_text().splitlines(keepends=True) if self.path.is_file() else []
        # A run that begins writes the row of step 0 itself, also after an attempt that did not come to a checkpoint.
        last = start_step or -1
        kept = [line for line in lines[1:] if line.endswith("\n") and int(line.split(",")[0]) <= last]
        files.write_atomically(self.path, "".join([",".join(columns) + "\n", *kept]).encode())

    def append(self, *row) -> None:
        with self.path.open("a") as file:
            file.write(",".join(map(str, row)) + "\n")
