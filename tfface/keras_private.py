"""Every private part of Keras and TensorFlow that the library relies on, each with its reason.

Private parts move without notice. `tests/test_keras_private.py` fails when one of these does, and when the library uses
one that is not here.
"""

import re
import typing

import keras
import tensorflow as tf
from tensorflow.python.ops.resource_variable_ops import ResourceVariable


def device_variable(value: tf.Tensor, trainable: bool, name: str) -> tf.Variable:
    """Makes a variable on the current device alone; in the scope of a strategy `tf.Variable` has a copy per replica."""
    return ResourceVariable(value, trainable=trainable, name=name)


def unique_id(variable: tf.Variable) -> str:
    """Returns the name by which Keras' optimizers know a variable."""
    return variable._unique_id


def set_unique_id(tensor: tf.Tensor, name: str) -> None:
    """Names a tensor as a variable, because Keras' optimizers ask the value of a keras.Variable for its name."""
    tensor._unique_id = name


def strategy_of(optimizer: keras.optimizers.Optimizer) -> tf.distribute.Strategy:
    """Returns the strategy in whose scope an optimizer was made; training under another one fails without a reason."""
    return optimizer._distribution_strategy


def track_slot(optimizer: keras.optimizers.Optimizer, variable: keras.Variable) -> None:
    """Adds to an optimizer a variable that it has not made itself, so that it is listed, saved and loaded."""
    optimizer._track_variable(variable)


def variable_index(optimizer: keras.optimizers.Optimizer, variable: keras.Variable | tf.Variable) -> int:
    """Returns the index of a trainable variable, which is that of its entry in the optimizer's lists of slots."""
    return optimizer._get_variable_index(variable)


def uses_weight_decay(optimizer: keras.optimizers.Optimizer, variable: keras.Variable | tf.Variable) -> bool:
    """Whether no `exclude_from_weight_decay` exempts a variable: what it exempts has no public list."""
    return optimizer._use_weight_decay(variable)


def lamb_slots(
    optimizer: keras.optimizers.Lamb, variable: keras.Variable | tf.Variable
) -> tuple[tf.Variable, tf.Variable]:
    """Returns the momentum and the velocity of a variable; the SGD of Keras publishes its lists, LAMB does not."""
    index = variable_index(optimizer, variable)
    return optimizer._momentums[index].value, optimizer._velocities[index].value


def loss_tracker(model: keras.Model) -> keras.metrics.Metric:
    """Returns the metric behind the logged loss; a `train_step` of one's own has to update it."""
    return model._loss_tracker


def build_metrics(model: keras.Model, num_classes: int) -> list[keras.metrics.Metric]:
    """Builds the metrics given to `compile` for labels [B] and logits [B, K]; returns them.

    Keras would build them inside the first step, where a strategy allows no new variables.
    """
    compiled = model._compile_metrics
    if not compiled.built:
        compiled.build(keras.KerasTensor((None,), "int64"), keras.KerasTensor((None, num_classes), "float32"))
    return list(compiled.metrics)


def inputs_of(data: typing.Any) -> list:
    """Returns the datasets that a dataset transforms or distributes, which has no public name; none for other data."""
    if isinstance(data, tf.data.Dataset):
        return list(data._inputs())
    if isinstance(data, tf.distribute.DistributedDataset):
        original = getattr(data, "_original_dataset", None)  # Made from a function, it has none.
        return [] if original is None else [original]
    return []


_FAILED = "assertion failed: ["
# Outside of a graph, the same assertion says it otherwise.
_FAILED_EAGERLY = re.compile(r"""Expected '.*' to be true\. Summarized data: b(['"])(.*)\1(?:\n([\d, -]*))?""")


def reason_of(error: tf.errors.OpError) -> str:
    """Returns the reason in the message of a failed operation, which follows a traceback of the graph."""
    if eager := _FAILED_EAGERLY.search(error.message):
        _, text, values = eager.groups()
        return f"{text} [{values.replace(', ', ' ')}]" if values else text
    lines = [line.strip() for line in error.message.split("[[{{")[0].splitlines() if line.strip()]
    reason = lines[-1] if lines else type(error).__name__
    # A dataset says before it which transformation failed.
    _, failed, sentence = reason.partition(_FAILED)
    if not failed:
        return reason
    text, bracket, values = sentence.partition("] [")
    return f"{text} [{values}" if bracket else text.removesuffix("]")


def is_assertion(error: tf.errors.OpError) -> bool:
    """Whether an operation failed because of an assertion, whose reason is a sentence."""
    return _FAILED in error.message or bool(_FAILED_EAGERLY.search(error.message))


def replace_rows(array: tf.Tensor, indices: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """Replaces rows in place, whatever else refers to the array; the public updates copy a loop's state each time."""
    return tf.raw_ops.InplaceUpdate(x=array, i=indices, v=rows)


class Override(typing.NamedTuple):
    """A private method or attribute of Keras or TensorFlow that a class of the library defines anew."""

    owner: str  # module:class
    name: str
    reason: str


OVERRIDES = (
    Override(
        "tfface.heads.base:ClassificationHead",
        "_seed_generators",
        "Keras' list of a layer's random states, which a `.keras` file of its own does not hold.",
    ),
    Override(
        "tfface.training.face_model:FaceModel",
        "_maybe_symbolic_build",
        "Keras would average the images of the first batch over the replicas to build layers that are built already.",
    ),
    Override(
        "tfface.distribute.partitioned_variable:PartitionedVariable",
        "_initialize_with_initializer",
        "The rows of each replica are made alone, in host memory.",
    ),
    Override(
        "tfface.distribute.partitioned_variable:PartitionedVariable",
        "_initialize",
        "Makes one variable per replica in place of the one that Keras keeps in `_value`.",
    ),
    Override(
        "tfface.distribute.partitioned_variable:PartitionedVariable",
        "_value",
        "Keras takes a variable without one as not initialized.",
    ),
    Override(
        "tfface.distribute.partitioned_variable:PartitionedVariable",
        "_direct_assign",
        "`assign` divides all rows among the replicas, or assigns those of one replica.",
    ),
    Override(
        "tfface.distribute.partitioned_variable:PartitionedVariable",
        "_serialize_to_tensors",
        "A SavedModel or a checkpoint of TensorFlow holds all rows.",
    ),
    Override(
        "tfface.distribute.partitioned_variable:PartitionedVariable",
        "_restore_from_tensors",
        "The counterpart of `_serialize_to_tensors`.",
    ),
    Override(
        "tfface.optimizers.row_sgd:RowSGD",
        "_apply_weight_decay",
        "Keras would shrink every row; `update_step` shrinks those that have a gradient.",
    ),
    Override(
        "tfface.optimizers.lamb:LAMB",
        "_apply_weight_decay",
        "Keras would shrink weights outside of the ratio of norms.",
    ),
    Override(
        "tfface.optimizers.replica_aware:_KnowsVariables",
        "_var_key",
        "A partitioned variable has another value in each replica, but is one variable.",
    ),
    Override(
        "tfface.optimizers.replica_aware:_ReplicaAware",
        "_backend_apply_gradients",
        "Gradients are summed before they are clipped.",
    ),
    Override(
        "tfface.optimizers.replica_aware:_ReplicaAware",
        "_all_reduce_sum_gradients",
        "They are summed already.",
    ),
    Override(
        "tfface.optimizers.replica_aware:_ReplicaAware",
        "_clip_gradients",
        "Norms are those over all replicas, and gradients of sampled rows stay rows.",
    ),
    Override(
        "tfface.optimizers.replica_aware:_ReplicaAware",
        "_apply_weight_decay",
        "Each replica shrinks its own rows of a partitioned variable.",
    ),
    Override(
        "tfface.optimizers.replica_aware:_ReplicaAware",
        "_backend_update_step",
        "Each replica updates its own rows of a partitioned variable.",
    ),
)
