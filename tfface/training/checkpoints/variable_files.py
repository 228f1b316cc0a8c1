"""Files of named variables in TensorFlow's checkpoint format, for any partition of the classes.

A partitioned variable has one name and its full shape in the files; each replica writes and reads its own rows.
"""

import os
import pathlib
from collections.abc import Sequence

import keras
import tensorflow as tf

from tfface.distribute import collectives
from tfface.distribute.class_rows import shards
from tfface.distribute.partitioned_variable import PartitionedVariable
from tfface.distribute.row_blocks import row_blocks

# A part of this size, 64 MB of float32, is a file of a checkpoint.
_NUMBERS_AT_ONCE = 1 << 24


def write_variables(prefix: str | os.PathLike, variables: dict[str, keras.Variable]) -> None:
    """Writes variables; with several workers all must call it, and each writes its own rows.

    Args:
      prefix: path prefix of the files, in a folder that all workers share and that holds no other files;
        `prefix.index` is written last.
      variables: dict from name to keras.Variable.

    Raises:
      OSError or tf.errors.OpError: a file cannot be written.
    """
    folder = pathlib.Path(prefix).parent
    written = 0

    def write(tensors):
        nonlocal written
        names, slices, values = zip(*tensors, strict=True)
        part = folder / f"part-{collectives.worker_index()}-{written}"
        tf.raw_ops.SaveV2(prefix=str(part), tensor_names=names, shape_and_slices=slices, tensors=values)
        written += 1

    partitioned = {name: value for name, value in variables.items() if isinstance(value, PartitionedVariable)}
    # All workers read, because some variables (statistics of batch normalisation) are averaged when read.
    shared = [(name, "", tf.identity(value.value)) for name, value in variables.items() if name not in partitioned]
    if collectives.is_chief():
        write(shared)
    # Part by part, because TensorFlow copies what it saves.
    for name, variable in partitioned.items():
        for start, shard in shards(variable):
            for first, last in row_blocks(0, shard.shape[0], shard.shape[1:], _NUMBERS_AT_ONCE):
                rows = tf.gather(shard, tf.range(first, last))
                write([(name, _slice(variable.shape, start + first, rows.shape), rows)])
    collectives.barrier()
    if collectives.is_chief():
        parts = sorted(str(path.with_suffix("")) for path in folder.glob("part-*.index"))
        tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=parts, destination_prefix=str(prefix), delete_old_dirs=False)


def read_variables(prefix: str | os.PathLike, variables: dict[str, keras.Variable]) -> None:
    """Assigns what `write_variables` wrote to variables; each shard reads its own rows.

    Args:
      prefix: path prefix of the files.
      variables: dict from name to keras.Variable.

    Raises:
      ValueError: the files are damaged, or lack a variable of that name and shape; nothing has been assigned then.
    """
    shapes = read_shapes(prefix)
    try:
        for name, variable in variables.items():
            if shapes.get(name) != list(variable.shape):
                found = f"there has shape {shapes[name]}" if name in shapes else "is not there"
                raise ValueError(f"{name}, here of shape {list(variable.shape)}, {found}.")
        for name, variable in variables.items():
            for start, shard in shards(variable):
                # Each shard gets its own rows, without another copy.
                part = _slice(variable.shape, start, shard.shape)
                shard.assign(_restore(prefix, name, part, tf.as_dtype(shard.dtype)))
    except tf.errors.OpError as error:
        raise _damaged(error) from None


def read_shapes(prefix: str | os.PathLike) -> dict[str, list[int]]:
    """Returns {name: shape as a list} of the variables in the files; raises ValueError if they are damaged."""
    try:
        return tf.train.load_checkpoint(str(prefix)).get_variable_to_shape_map()
    except (tf.errors.OpError, IndexError) as error:
        raise _damaged(error) from None


def _damaged(error):
    return ValueError(str(error).strip().splitlines()[0])


def read_rows(prefix: str | os.PathLike, name: str, shape: Sequence[int], start: int, rows: int) -> tf.Tensor:
    """Reads float32 rows from `start` of the variable `name` of this shape."""
    return _restore(prefix, name, _slice(shape, start, [rows, *shape[1:]]), tf.float32)


def _restore(prefix, name, slice_, dtype):
    with tf.device("CPU:0"):
        return tf.raw_ops.RestoreV2(prefix=str(prefix), tensor_names=[name], shape_and_slices=[slice_], dtypes=[dtype])[
            0
        ]


def _slice(shape, start, part):
    """TensorFlow's notation of a part of this shape: the full shape, then start,length of each axis or - for all of it.

    The whole variable, which may be a scalar, is "".
    """
    if tuple(part) == tuple(shape):
        return ""
    full = " ".join(map(str, shape))
    return f"{full} " + ":".join([f"{start},{part[0]}", *["-"] * (len(shape) - 1)])
