"""Optimizers as published recipes of face recognition have them, for training programs."""

import keras

from tfface.optimizers.row_sgd import RowSGD


def SGD(
    learning_rate=0.1,
    momentum: float = 0.9,
    decay_form: str = "coupled",
    weight_decay: float | None = None,
    global_clipnorm: float | None = None,
) -> RowSGD:
    """`RowSGD` with momentum and the weight decay of published recipes.

    Args:
      learning_rate: float or schedule.
      momentum: float in [0, 1].
      decay_form: "coupled": added to the gradient (PyTorch, MXNet, papers); "decoupled": scaled by the learning rate
        (Keras); "constant": the same at every step (SGDW of tensorflow-addons).
      weight_decay: float; None: none.
      global_clipnorm: float, largest norm of all gradients together; None: no clipping.

    Raises:
      ValueError: an option is out of range.
    """
    return RowSGD(
        learning_rate, momentum, weight_decay=weight_decay, decay_form=decay_form, global_clipnorm=global_clipnorm
    )


def AdamW(
    learning_rate=0.001,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-7,
    amsgrad: bool = False,
    weight_decay: float | None = None,
    global_clipnorm: float | None = None,
) -> keras.optimizers.AdamW:
    """`keras.optimizers.AdamW`.

    Args:
      learning_rate: float or schedule.
      beta_1: float in [0, 1), decay of the first moment.
      beta_2: float in [0, 1), decay of the second moment.
      epsilon: float.
      amsgrad: bool, the variant that keeps the largest second moment.
      weight_decay: float; None: none.
      global_clipnorm: float, largest norm of all gradients together; None: no clipping.
    """
    return keras.optimizers.AdamW(
        learning_rate, weight_decay or 0.0, beta_1, beta_2, epsilon, amsgrad, global_clipnorm=global_clipnorm
    )
