"""Peak memory of the tensors of a graph, from their shapes: nothing is computed."""

import collections

import tensorflow as tf

# Their outputs are views of an input.
_VIEWS = frozenset(
    ("ExpandDims", "Identity", "IdentityN", "PreventGradient", "ReadVariableOp", "Reshape", "Squeeze", "StopGradient")
)
# Their outputs are the caller's, or small and there from the start.
_GIVEN = frozenset(("Const", "Placeholder", "VarHandleOp"))
# Elementwise operations write into an input that nobody else needs.
_IN_PLACE = frozenset(
    """Add AddN AddV2 Cast Exp FusedBatchNormGradV3 FusedBatchNormV3 Log Maximum Minimum Mul Neg RealDiv Relu Relu6
    Relu6Grad ReluGrad Rsqrt SelectV2 Sigmoid Softmax Sqrt Square Sub Tanh""".split()  # noqa: SIM905
)


def peak_bytes(graph: tf.Graph) -> int:
    """Computes the largest number of bytes that the tensors of a graph take at one moment.

    Operations run one after the other, in the order in which they were made. A tensor lives from the operation that
    makes it to the last one that uses it; the outputs of a function live to its end. Inputs and constants do not count.

    Args:
      graph: of a `tf.function`, with static shapes.

    Returns:
      int, bytes.
    """
    operations = graph.get_operations()
    buffers, uses = {}, collections.Counter()  # The buffer of each tensor, and how often each will still be used.
    for operation in operations:
        for number, output in enumerate(operation.outputs):
            viewed = operation.inputs[min(number, len(operation.inputs) - 1)] if operation.inputs else None
            view = operation.type in _VIEWS and viewed.dtype != tf.resource
            buffers[output.ref()] = buffers[viewed.ref()] if view else output.ref()
    for tensor in [*(each for operation in operations for each in operation.inputs), *getattr(graph, "outputs", ())]:
        uses[buffers[tensor.ref()]] += 1
    live, now, peak = {}, 0, 0
    for operation in operations:
        own = [] if operation.type in _GIVEN else [o for o in operation.outputs if buffers[o.ref()] == o.ref()]
        inputs = [buffers[each.ref()] for each in operation.inputs]
        uses.subtract(inputs)
        ended = [each for each in dict.fromkeys(inputs) if not uses[each] and each in live]
        made = {each.ref(): _size(each) for each in own}
        if operation.type in _IN_PLACE and made:
            first = next(iter(made))
            written = next((each for each in ended if live[each] == made[first]), None)
            if written is not None:
                ended.remove(written)
                now -= live.pop(written)
        now += sum(made.values())
        peak = max(peak, now)
        live |= made
        now -= sum(live.pop(each) for each in [*ended, *(each for each in made if not uses[each])])
    return peak


def _size(tensor):
    count = tensor.shape.num_elements()
    return 0 if count is None or tensor.dtype in (tf.resource, tf.variant, tf.string) else count * tensor.dtype.size
