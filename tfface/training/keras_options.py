"""Checks of options of Keras that FaceModel does not support, before the first step."""

import contextlib
import warnings
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from tfface import keras_private
from tfface.distribute import collectives
from tfface.distribute.partitioned_variable import PartitionedVariable
from tfface.heads.base import ClassificationHead


def check_encoder(encoder: keras.Model, head: keras.layers.Layer) -> None:
    """Checks that a network returns embeddings; warns where it ends in a way that margin heads train badly.

    Raises:
      ValueError: its shapes are not known yet, or it does not return one vector per image.
    """
    try:
        shape = encoder.output_shape
    except (AttributeError, ValueError):
        raise ValueError(
            f"encoder {getattr(encoder, 'name', encoder)!r} does not know its shapes: pass a functional model or a "
            "Sequential that begins with keras.Input. For a subclassed model, inputs = keras.Input((112, 112, 3)) and "
            "keras.Model(inputs, encoder(inputs)) make one."
        ) from None
    if not isinstance(shape, tuple) or len(shape) != 2:
        raise ValueError(f"encoder must return embeddings [B, d], its output has shape {shape}.")
    while not isinstance(head, ClassificationHead) and hasattr(head, "head"):
        head = head.head
    if isinstance(head, ClassificationHead) and head.normalize and isinstance(encoder.layers[-1], keras.layers.Dense):
        warnings.warn(
            f"the encoder ends in Dense layer {encoder.layers[-1].name!r}. Heads on cosines such as "
            f"{type(head).__name__} train badly so: add keras.layers.BatchNormalization() at its end.",
            stacklevel=3,
        )


def check_compile(
    model: keras.Model, optimizer, loss, loss_weights, metrics, auto_scale_loss: bool, steps_per_execution: int | str
) -> None:
    """Checks arguments of `compile`.

    Raises:
      ValueError: an argument would have no effect or a wrong one; the message has the remedy.
    """
    for name, given in (("loss", loss), ("loss_weights", loss_weights)):
        if given is not None:
            raise ValueError(
                f"the head is the loss of a FaceModel; compile got {name}={given!r}. Leave it out, or train your own"
                " keras.Model on head.logits(embeddings, labels)."
            )
    if metrics and logits_head(model.head) is None:
        raise ValueError(
            f"metrics get the logits of the head, and {type(model.head).__name__} has none; compile got "
            f"metrics={metrics!r}. Leave them out."
        )
    if metrics and has_partitioned(model):
        raise ValueError(
            "metrics get the logits of all classes, and no replica of a partitioned head has them; compile got "
            f"metrics={metrics!r}. Leave them out, or make the head without `partition`."
        )
    if optimizer is not None and model.ema_momentum and optimizer.gradient_accumulation_steps:
        raise ValueError(
            f"ema_momentum averages after every step, and optimizer {optimizer.name} with gradient_accumulation_steps="
            f"{optimizer.gradient_accumulation_steps} updates after some only. Use FaceModel(..., micro_batches="
            f"{optimizer.gradient_accumulation_steps}) with as much larger batches instead."
        )
    if not auto_scale_loss and computes_in_float16(model.encoder):
        raise ValueError(
            "layers of the encoder compute in float16, whose small gradients are 0 if the loss is not scaled; compile "
            "got auto_scale_loss=False. Leave it out, or use mixed_bfloat16, which needs no scale."
        )

    if steps_per_execution != 1 and collectives.replica_count() > 1:
        raise ValueError(
            "Keras executes one step at a time on several replicas; compile got steps_per_execution="
            f"{steps_per_execution!r}. Leave it out."
        )


def logits_head(head: keras.layers.Layer) -> keras.layers.Layer | None:
    """Returns the head, or the one that it wraps, which has logits; None if there is none."""
    while head is not None and not hasattr(head, "logits"):
        head = getattr(head, "head", None)
    return head


def has_classes(head: keras.layers.Layer) -> bool:
    """Whether labels stand for classes that the head learns; others only compare labels with each other."""
    return any(hasattr(layer, "num_classes") for layer in (head, *getattr(head, "terms", ())))


def has_partitioned(model: keras.Model) -> bool:
    return any(isinstance(variable, PartitionedVariable) for variable in model.trainable_variables)


def computes_in_float16(encoder: keras.Model) -> bool:
    return any(layer.compute_dtype == "float16" for layer in encoder.layers)


def images_of(x):
    """Returns the images of what `fit` takes: of a batch with labels its "image", or its "pixels" in [0, 255]."""
    return x.get("image", x.get("pixels")) if isinstance(x, dict) else x


def check_examples(encoder: keras.Model, x, y=None) -> None:
    """Checks the shape of images and the type of labels where they are known before the first step.

    Args:
      encoder: network for the images.
      x: as for `keras.Model.fit`.
      y: as for `keras.Model.fit`.

    Raises:
      ValueError: the encoder does not take the images, or labels are not integers; the message has the remedy.
    """
    if isinstance(x, tf.data.Dataset):
        x, y, _ = keras.utils.unpack_x_y_sample_weight(x.element_spec)
    images, labels = images_of(x), x.get("label", y) if isinstance(x, dict) else y
    shape, expected = getattr(images, "shape", None), encoder.input_shape[1:]
    if shape is not None and not tf.TensorShape(shape)[1:].is_compatible_with(expected):
        remedy = f"datasets of tfface.data take image_size={expected[:2]}"
        if expected[2:] == (1,):
            remedy = "to take colour images, a network of grey ones begins with tfface.backbones.Greyscale()"
        raise ValueError(f"images must have shape {('B', *expected)} for this encoder, got {tuple(shape)}: {remedy}.")
    if isinstance(labels, np.ndarray | tf.Tensor | tf.TensorSpec) and not tf.as_dtype(labels.dtype).is_integer:
        raise ValueError(
            f"labels must be integers [B] from 0, got {tf.as_dtype(labels.dtype).name} {list(labels.shape)}: "
            "np.unique(labels, return_inverse=True)[1] numbers names, labels.argmax(axis=1) one-hot rows, and "
            'labels.astype("int64") takes whole numbers.'
        )


@contextlib.contextmanager
def assertions_as_sentences() -> Iterator[None]:
    """Context manager that raises a failed assertion of a graph as a ValueError with its sentence alone."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        if not keras_private.is_assertion(error):
            raise
        raise ValueError(keras_private.reason_of(error)) from error


def check_end(data, steps: int | None, argument: str) -> None:
    """Refuses a dataset without an end where the number of steps is not given.

    Raises:
      ValueError: there is neither an end nor a number of steps.
    """
    if steps is None and isinstance(data, tf.data.Dataset) and data.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError(
            f"the dataset never ends, so {argument} must be given, such as {argument}="
            f"tfface.data.steps_per_epoch(shards, batch_size); got {argument}=None. Or make a dataset "
            "whose epochs end: train_dataset(..., epochs=1)."
        )


def weigh_classes(x, y, class_weight: dict[int, float]):
    """Returns data whose examples have the weights of their classes, for both forms of batches.

    Args:
      x: as for `fit`.
      y: as for `fit`.
      class_weight: dict from label to weight; other labels have weight 1.

    Returns:
      (x, y, class_weight that is left to Keras).
    """
    if isinstance(x, dict) and "label" in x and y is None:
        return x, x["label"], class_weight
    if not isinstance(x, tf.data.Dataset):
        return x, y, class_weight
    table = tf.constant([float(class_weight.get(label, 1.0)) for label in range(max(class_weight) + 2)])

    def weigh(*batch):
        inputs, labels, weights = keras.utils.unpack_x_y_sample_weight(batch)
        if weights is not None:
            raise ValueError("the dataset has sample weights already; fit also got class_weight. Pass one of them.")
        labels = inputs["label"] if isinstance(inputs, dict) else labels
        # The last entry is the weight of labels that are not in the dict.
        return inputs, labels, tf.gather(table, tf.minimum(labels, tf.cast(len(table) - 1, labels.dtype)))

    return x.map(weigh, num_parallel_calls=tf.data.AUTOTUNE), y, None


def check_metrics(metrics: list) -> None:
    """Refuses metrics under several replicas where Keras adds their sums once too often.

    Raises:
      ValueError: this version of Keras does so.
    """
    variables = [variable for metric in metrics for variable in metric.variables]
    if collectives.replica_count() > 1 and any(
        getattr(variable, "synchronization", None) != "on_read" for variable in variables
    ):
        raise ValueError(
            f"metrics are wrong on several replicas in Keras {keras.__version__}, which multiplies their sums by the "
            "number of replicas. Leave `metrics` out of compile, or install a newer Keras."
        )


def with_checked_labels(x, y, head: keras.layers.Layer):
    """Returns data whose labels are checked before each step: XLA drops the checks inside of a step that it compiles.

    Args:
      x: as for `fit`; of generators, nothing is checked.
      y: as for `fit`.
      head: the head, whose `check_labels` is used.

    Returns:
      (x, y).

    Raises:
      ValueError: labels are not integers.
      tf.errors.InvalidArgumentError: a label of an array is out of range; one of a dataset is found by its batch.
    """
    if not hasattr(head, "check_labels"):
        return x, y
    if not isinstance(x, tf.data.Dataset):
        labels = x.get("label", y) if isinstance(x, dict) else y
        if isinstance(labels, np.ndarray | tf.Tensor):
            head.check_labels(labels)
        return x, y

    def check(*batch):
        inputs, labels, weights = keras.utils.unpack_x_y_sample_weight(batch[0] if len(batch) == 1 else batch)
        if isinstance(inputs, dict) and "label" in inputs:
            inputs = {**inputs, "label": head.check_labels(inputs["label"])}
        elif labels is not None:
            labels = head.check_labels(labels)
        return keras.utils.pack_x_y_sample_weight(inputs, labels, weights)

    return x.map(check, num_parallel_calls=tf.data.AUTOTUNE), y
