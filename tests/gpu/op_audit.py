"""Tells what the operations of a graph would do on a GPU, on any machine, from the kernels that TensorFlow registers.

The package `tensorflow` registers its GPU kernels without a GPU; `tensorflow-cpu` has none. Operations inside of
functions that XLA compiles are judged like the others.
"""

import collections
import functools
import mmap
import pathlib
import re
import typing

import tensorflow as tf
from tensorflow.python.framework import function_def_to_graph, kernels

# Kernels that wait for numbers of the GPU, because these decide the size of their outputs.
SIZED_BY_VALUES = ("NonMaxSuppressionV3", "Unique", "UniqueV2", "UniqueWithCounts", "Where")

# Their kernels for GPUs copy the whole array to the host and back when determinism is on.
THROUGH_HOST = re.compile(r"(Resource|Tensor)?Scatter(Nd)?(Add|Sub|Update|Min|Max|NonAliasingAdd)?")


class Finding(typing.NamedTuple):
    """An operation of a graph that would fail or wait on a GPU."""

    problem: str  # "no kernel", "raises", "waits", "on host" or "through host"
    op: str


def has_gpu_kernels() -> bool:
    """Whether this TensorFlow registers kernels for GPUs."""
    return any(kernel.device_type == "GPU" for kernel in _registered("MatMul"))


def audit(graph: tf.Graph, raising: dict) -> dict[Finding, int]:
    """Judges all operations of a graph and of its functions.

    Args:
      graph: tf.Graph.
      raising: of `raising_operations`.

    Returns:
      dict from `Finding` to the number of operations.
    """
    found = collections.Counter()
    for operation in operations(graph):
        node = operation.node_def
        if node.op in raising and raising[node.op](node):
            found[Finding("raises", node.op)] += 1
        # What has no inputs is computed on the host without waiting for anything, such as the text of a message.
        if _kernel(node) is None and operation.inputs:
            found[Finding("no kernel", node.op)] += 1
        elif _kernel(node) and (node.op in SIZED_BY_VALUES or _reads_on_host(operation)):
            found[Finding("waits", node.op)] += 1
        if _kernel(node) and any(_is_large(value) and not _on_gpu(value) for value in operation.outputs):
            found[Finding("on host", node.op)] += 1
        if THROUGH_HOST.fullmatch(node.op):
            found[Finding("through host", node.op)] += 1
    return dict(found)


def operations(graph: tf.Graph):
    """Yields the operations of a graph and of all functions that it calls."""
    yield from graph.get_operations()
    for function in graph.as_graph_def().library.function:
        yield from function_def_to_graph.function_def_to_graph(function).get_operations()


# What operations raise


def _always(node):
    return True


# What messages call otherwise than by an operation's name, in lower case, and when these operations raise.
_IN_PROSE = {
    "cropandresizebackpropboxes": {"CropAndResizeGradBoxes": _always},
    "cropandresizebackpropimage": {"CropAndResizeGradImage": _always},
    "scatter ops with ref inputs": {
        f"Scatter{kind}": _always for kind in ("Add", "Div", "Max", "Min", "Mul", "Sub", "Update")
    },
    "fused batch-norm backprop": {
        name: lambda node: not node.attr["is_training"].b
        for name in ("FusedBatchNormGrad", "FusedBatchNormGradV2", "FusedBatchNormGradV3")
    },
}

# Messages of functions that no step calls, of libraries older than those that TensorFlow is built with, and of a case
# that its code rules out: with determinism, segments are always reduced by the kernels that are deterministic.
_OTHERS = ("DebugNumericSummaryV2", "SVD of matrices", "with this version of cuDNN", "segment reduction op")


@functools.cache
def raising_operations() -> dict:
    """Reads off TensorFlow's own library which operations raise on a GPU when determinism is on.

    Returns:
      dict from the name of an operation to a function of its node that says whether it raises.

    Raises:
      ValueError: a message names no operation that is known.
    """
    known = {kernel.op.lower(): kernel.op for kernel in kernels.get_all_registered_kernels().kernel}
    found, unknown = {}, []
    for message in messages():
        names = [word.lower() for word in re.findall(r"[A-Z]\w+", message)]
        words = {name.removesuffix(end) for name in names for end in ("", "op")}
        here = {known[word]: _always for word in words & known.keys()}
        for phrase, of_phrase in _IN_PROSE.items():
            here |= of_phrase if phrase in message.lower() else {}
        if not here:
            unknown.append(message)
        found |= here
    if unknown:
        raise ValueError(f"messages about determinism that name no known operation: {unknown}.")
    return found


def messages() -> list[str]:
    """Returns the messages in TensorFlow's library about operations that raise when determinism is on."""
    folder = pathlib.Path(tf.sysconfig.get_lib())
    found = set()
    for path in sorted([*folder.glob("libtensorflow_cc.so*"), *folder.glob("libtensorflow_framework.so*")]):
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            # Twenty times faster than to find one after another in the 1.1 GB.
            for match in re.finditer(b"eterminis", data):
                place = match.start()
                start, end = data.rfind(b"\0", place - 400, place) + 1, data.find(b"\0", place, place + 400)
                text = data[start:end].decode(errors="replace").strip()
                if re.search("eterminism is not yet supported|eterministic .* not (currently )?available", text):
                    found.add(text)
    return sorted(text for text in found if not any(other in text for other in _OTHERS))


# Kernels and where their arguments are


@functools.cache
def _registered(name):
    return list(kernels.get_registered_kernels_for_op(name).kernel)


def _kernel(node):
    """The kernel that a GPU would run a node with, or None."""
    for device in ("GPU", "DEFAULT"):
        for kernel in _registered(node.op):
            if kernel.device_type == device and all(_allows(each, node) for each in kernel.constraint):
                return kernel
    return None


def _allows(constraint, node):
    value = node.attr[constraint.name]
    return set(value.list.type or [value.type]) <= set(constraint.allowed_values.list.type)


def _reads_on_host(operation):
    """Whether an operation reads on the host what another has computed on the GPU."""
    on_host = _kernel(operation.node_def).host_memory_arg
    names = _argument_names(operation.node_def, operation.op_def.input_arg)
    return any(name in on_host and _on_gpu(value) for name, value in zip(names, operation.inputs, strict=True))


def _on_gpu(tensor):
    producer = tensor.op
    # Constants are where they are needed; arguments of a function may be anywhere.
    if producer.type in ("Const", "Placeholder", "_Arg") or tensor.dtype in (tf.resource, tf.string, tf.variant):
        return False
    kernel = _kernel(producer.node_def)
    names = _argument_names(producer.node_def, producer.op_def.output_arg)
    return kernel is not None and names[tensor.value_index] not in kernel.host_memory_arg


def _is_large(tensor):
    """Whether a tensor is a matrix or more, of numbers that a kernel may have computed on the host."""
    counted = tensor.dtype not in (tf.resource, tf.string, tf.variant)
    lengths = [length for length in tensor.shape if length != 1] if tensor.shape.rank else []
    return counted and tensor.op.type not in ("Const", "Placeholder", "_Arg") and len(lengths) >= 2


def _argument_names(node, arguments):
    """The name of the argument of each input or output; an argument may stand for several."""
    names = []
    for argument in arguments:
        count = 1
        if argument.number_attr:
            count = node.attr[argument.number_attr].i
        elif argument.type_list_attr:
            count = len(node.attr[argument.type_list_attr].list.type)
        names += [argument.name] * count
    return names
