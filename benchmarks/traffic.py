"""The messages that replicas send each other in a step, read off the graph of the step."""

import typing


class Message(typing.NamedTuple):
    """A collective operation of one replica."""

    kind: str  # "CollectiveReduceV2", "CollectiveGatherV2", ...
    shape: tuple  # of what this replica brings; None where a length is not static
    bytes: int | None  # None where the shape is not static
    op: typing.Any  # tf.Operation


def messages(graph, replica=0):
    """Lists the collective operations of one replica in a traced function.

    Args:
      graph: tf.Graph, as `tf.function(...).get_concrete_function(...).graph`, of a function that calls `strategy.run`
        under a strategy whose replicas communicate by collective operations, as they do by default.
      replica: int, which of the devices.

    Returns:
      list of `Message`.
    """
    found = []
    for operation in graph.get_operations():
        if operation.type.startswith("Collective") and operation.device.endswith(f":{replica}"):
            value = operation.inputs[0]
            size = value.shape.num_elements() * value.dtype.size if value.shape.is_fully_defined() else None
            found.append(Message(operation.type, tuple(value.shape), size, operation))
    return found
