"""Shared by the programs that write a dataset: its flags, and the report of the result."""

import functools
import shlex
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from absl import flags

if TYPE_CHECKING:
    from tfface.data.conversion.convert import Conversion
    from tfface.data.sources.base import Source

FLAGS = flags.FLAGS
flags.DEFINE_string("output", None, "Directory for the dataset.", required=True)
flags.DEFINE_string("name", None, "Name of the dataset. Default: the last part of --output.")
flags.DEFINE_integer(
    "shards", None, "Shards per dataset, at most one per image. Default: about 100 MB per shard.", lower_bound=1
)
flags.DEFINE_integer("workers", None, "Threads. Default: the number of processors.", lower_bound=1)
flags.DEFINE_bool("skip_bad", False, "Leave bad images out and list them in skipped.txt, instead of stopping.")
flags.DEFINE_bool("overwrite", False, "Replace datasets of this name in --output.")


def write(source: "Source") -> None:
    """Converts a source to the dataset that the flags name, and prints what it holds."""
    from tfface.data.conversion.convert import convert

    result = run(functools.partial(convert, source))
    print(f"skipped: {len(result.skipped)}")
    print(f"next: python tfrecords_tools/inspect_records.py --input={shlex.quote(FLAGS.output)}")


def run(convert: "Callable[..., Conversion]") -> "Conversion":
    """Runs a conversion with the options that the flags name, and prints its datasets and what it skipped.

    Args:
      convert: function of the output directory and of the options of `tfface.data.convert`.

    Returns:
      The result of `convert`.
    """
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")  # Training may need the GPU's memory.
    result = convert(
        FLAGS.output,
        name=FLAGS.name,
        num_shards=FLAGS.shards,
        workers=FLAGS.workers,
        skip_bad=FLAGS.skip_bad,
        overwrite=FLAGS.overwrite,
        progress=True,
    )
    for place, reason in result.skipped:
        print(f"skipped {place}: {reason}", file=sys.stderr)
    for directory, info in result.datasets.items():
        size = "various sizes" if info.image_size is None else "{1} x {0} pixels".format(*info.image_size)
        print(f"{directory}: {info.images} images of {info.identities} identities, {size}, {len(info.shards)} shard(s)")
        if info.landmarks:
            print(f"  {info.landmarks} of them with landmarks")
    return result
