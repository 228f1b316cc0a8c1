"""Learning-rate schedules by name, each with an optional linear warm-up."""

import dataclasses
from collections.abc import Sequence

import keras

_NAMES = ("constant", "steps", "polynomial", "cosine")


@dataclasses.dataclass(frozen=True)
class Constant:
    """The same rate after the warm-up."""

    def options(self, steps_per_epoch: int) -> dict:
        """Returns arguments of `learning_rate`."""
        return {"schedule": "constant"}


@dataclasses.dataclass(frozen=True)
class Steps:
    """The rate is multiplied by a factor at boundaries, given in epochs or in steps.

    Args:
      epochs: floats, increasing.
      steps: ints, increasing.
      factor: float.

    Raises:
      ValueError: both or none of `epochs` and `steps` are given, or a boundary is not a number.
    """

    epochs: Sequence[float] = ()
    steps: Sequence[int] = ()
    factor: float = 0.1

    def __post_init__(self):
        boundaries = self.epochs or self.steps
        if bool(self.epochs) == bool(self.steps):
            raise ValueError(
                f"Steps needs boundaries, as epochs=[8, 14] or steps=[20000, 28000], got {self.epochs!r} and "
                f"{self.steps!r}."
            )
        if not isinstance(boundaries, (list, tuple)) or not all(isinstance(each, (int, float)) for each in boundaries):
            raise ValueError(f"boundaries must be a list of numbers, got {boundaries!r}.")

    def options(self, steps_per_epoch: int) -> dict:
        """Returns arguments of `learning_rate`."""
        boundaries = self.steps or [round(epoch * steps_per_epoch) for epoch in self.epochs]
        return {"schedule": "steps", "boundaries": boundaries, "factor": self.factor}


@dataclasses.dataclass(frozen=True)
class Polynomial:
    """The rate falls as (1 − progress)^power.

    Args:
      power: float.
      final: float, rate at the end.
    """

    power: float = 2.0
    final: float = 0.0

    def options(self, steps_per_epoch: int) -> dict:
        """Returns arguments of `learning_rate`."""
        return {"schedule": "polynomial", "power": self.power, "final": self.final}


@dataclasses.dataclass(frozen=True)
class Cosine:
    """The rate falls along half a period of the cosine.

    Args:
      final: float, rate at the end.
    """

    final: float = 0.0

    def options(self, steps_per_epoch: int) -> dict:
        """Returns arguments of `learning_rate`."""
        return {"schedule": "cosine", "final": self.final}


def learning_rate(
    schedule: str,
    base: float,
    total_steps: int,
    warmup_steps: int = 0,
    boundaries: Sequence[int] = (),
    factor: float = 0.1,
    power: float = 2.0,
    final: float = 0.0,
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Builds a schedule over `total_steps` steps, warm-up included.

    Args:
      schedule: "constant", "steps", "polynomial" or "cosine".
      base: float, learning rate at the end of the warm-up.
      total_steps: int.
      warmup_steps: int, steps of linear growth from base / warmup_steps.
      boundaries: steps at which "steps" multiplies the rate by `factor`, increasing.
      factor: float, of "steps".
      power: float, of "polynomial": rate = (base − final)·(1 − progress)^power + final.
      final: float, rate at the end of "polynomial" and "cosine".

    Returns:
      A `keras.optimizers.schedules.LearningRateSchedule`.

    Raises:
      ValueError: unknown schedule, or steps that do not fit.
    """
    if schedule not in _NAMES:
        raise ValueError(f"schedule must be one of {', '.join(_NAMES)}, got {schedule!r}.")
    if not 0 <= warmup_steps < total_steps:
        raise ValueError(f"warmup_steps must be in [0, {total_steps}), the steps of the run; got {warmup_steps}.")
    decay_steps = total_steps - warmup_steps
    schedules = keras.optimizers.schedules
    if schedule == "constant":
        after = schedules.PiecewiseConstantDecay([total_steps], [base, base])
    elif schedule == "steps":
        boundaries = list(boundaries)
        if boundaries != sorted(set(boundaries)) or not all(warmup_steps < b < total_steps for b in boundaries):
            raise ValueError(
                f"boundaries must increase between warm-up and end ({warmup_steps}, {total_steps}), got {boundaries}."
            )
        if not boundaries:
            raise ValueError("schedule 'steps' needs boundaries, got none.")
        rates = [base * factor**i for i in range(len(boundaries) + 1)]
        # At the boundary itself Keras keeps the old rate; here a boundary is the first step with the new rate.
        after = schedules.PiecewiseConstantDecay([b - warmup_steps - 1 for b in boundaries], rates)
    elif schedule == "polynomial":
        after = schedules.PolynomialDecay(base, decay_steps, end_learning_rate=final, power=power)
    elif base == 0:
        if final:
            raise ValueError(f"schedule 'cosine' must start at a positive learning rate to reach {final}, got 0.")
        after = schedules.PiecewiseConstantDecay([total_steps], [0.0, 0.0])
    else:
        after = schedules.CosineDecay(base, decay_steps, alpha=final / base)
    return WarmUp(after, base, warmup_steps) if warmup_steps else after


@keras.saving.register_keras_serializable("tfface")
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """Linear growth to `base` over the first `steps` steps, then `after`, counted from their end.

    Args:
      after: LearningRateSchedule.
      base: float, rate that the growth aims at.
      steps: int, at least 1; step i < steps has the rate base·(i + 1)/steps.
    """

    def __init__(self, after: keras.optimizers.schedules.LearningRateSchedule, base: float, steps):
        self.after = after
        self.base = base
        self.steps = steps

    def __call__(self, step: int):
        step = keras.ops.cast(step, "float32")
        growing = self.base * (step + 1) / self.steps
        return keras.ops.where(step < self.steps, growing, self.after(keras.ops.maximum(step - self.steps, 0)))

    def get_config(self):
        return {
            "after": keras.optimizers.schedules.serialize(self.after),
            "base": self.base,
            "steps": self.steps,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "after": keras.optimizers.schedules.deserialize(config["after"])})
