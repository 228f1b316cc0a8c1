"""Learning-rate schedules, each with an optional linear warm-up."""

import dataclasses
from collections.abc import Sequence

import keras
from keras.optimizers.schedules import CosineDecay, LearningRateSchedule, PiecewiseConstantDecay, PolynomialDecay


@dataclasses.dataclass(frozen=True)
class Run:
    """The steps that a schedule covers.

    Args:
      total_steps: int, warm-up included.
      warmup_steps: int.
      steps_per_epoch: int.
    """

    total_steps: int
    warmup_steps: int = 0
    steps_per_epoch: int = 1


@dataclasses.dataclass(frozen=True)
class Constant:
    """The same rate after the warm-up."""

    def after_warmup(self, base: float, run: Run) -> LearningRateSchedule:
        """Builds the schedule that begins at the end of the warm-up with the rate `base`."""
        return PiecewiseConstantDecay([run.total_steps], [base, base])


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

    def after_warmup(self, base: float, run: Run) -> LearningRateSchedule:
        """As that of `Constant`; raises ValueError if the boundaries do not fit the run."""
        boundaries = list(self.steps) or [round(epoch * run.steps_per_epoch) for epoch in self.epochs]
        inside = all(run.warmup_steps < boundary < run.total_steps for boundary in boundaries)
        if boundaries != sorted(set(boundaries)) or not inside:
            raise ValueError(
                f"boundaries must increase between warm-up and end ({run.warmup_steps}, {run.total_steps}), got "
                f"{boundaries}."
            )
        rates = [base * self.factor**i for i in range(len(boundaries) + 1)]
        # At the boundary itself Keras keeps the old rate; here a boundary is the first step with the new rate.
        return PiecewiseConstantDecay([boundary - run.warmup_steps - 1 for boundary in boundaries], rates)


@dataclasses.dataclass(frozen=True)
class Polynomial:
    """The rate falls as (base − final)·(1 − progress)^power + final.

    Args:
      power: float.
      final: float, rate at the end.
    """

    power: float = 2.0
    final: float = 0.0

    def after_warmup(self, base: float, run: Run) -> LearningRateSchedule:
        """As that of `Constant`."""
        decay_steps = run.total_steps - run.warmup_steps
        return PolynomialDecay(base, decay_steps, end_learning_rate=self.final, power=self.power)


@dataclasses.dataclass(frozen=True)
class Cosine:
    """The rate falls along half a period of the cosine.

    Args:
      final: float, rate at the end.
    """

    final: float = 0.0

    def after_warmup(self, base: float, run: Run) -> LearningRateSchedule:
        """As that of `Constant`; raises ValueError if the rate would have to rise from zero."""
        if base == 0:
            if self.final:
                raise ValueError(f"Cosine must start at a positive learning rate to reach {self.final}, got 0.")
            return Constant().after_warmup(base, run)
        return CosineDecay(base, run.total_steps - run.warmup_steps, alpha=self.final / base)


def learning_rate(
    schedule: Constant | Cosine | Polynomial | Steps,
    base: float,
    total_steps: int,
    warmup_steps: int = 0,
    steps_per_epoch: int = 1,
) -> LearningRateSchedule:
    """Builds a schedule over `total_steps` steps, warm-up included.

    Args:
      schedule: what follows the warm-up, such as `Cosine(final=1e-4)`.
      base: float, learning rate at the end of the warm-up.
      total_steps: int.
      warmup_steps: int, steps of linear growth from base / warmup_steps.
      steps_per_epoch: int, by which `Steps(epochs=...)` counts.

    Returns:
      A `keras.optimizers.schedules.LearningRateSchedule`.

    Raises:
      ValueError: the steps do not fit.
    """
    if not 0 <= warmup_steps < total_steps:
        raise ValueError(f"warmup_steps must be in [0, {total_steps}), the steps of the run; got {warmup_steps}.")
    after = schedule.after_warmup(base, Run(total_steps, warmup_steps, steps_per_epoch))
    return WarmUp(after, base, warmup_steps) if warmup_steps else after


@keras.saving.register_keras_serializable("tfface")
class WarmUp(LearningRateSchedule):
    """Linear growth to `base` over the first `steps` steps, then `after`, counted from their end.

    Args:
      after: LearningRateSchedule.
      base: float, rate that the growth aims at.
      steps: int, at least 1; step i < steps has the rate base·(i + 1)/steps.
    """

    def __init__(self, after: LearningRateSchedule, base: float, steps):
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
