"""What the programs that write a dataset have in common: its flags, and what is said of the result."""

import shlex
import sys

from absl import flags

FLAGS = flags.FLAGS
flags.DEFINE_string("output", None, "Directory for the dataset.", required=True)
flags.DEFINE_string("name", None, "Name of the dataset. Default: the last part of --output.")
flags.DEFINE_integer("shards", None, "Shards, at most one per image; default: about 100 MB each.", lower_bound=1)
flags.DEFINE_integer("workers", None, "Threads. Default: the number of processors.", lower_bound=1)
flags.DEFINE_bool("skip_bad", False, "Leave bad images out and list them in skipped.txt, instead of stopping.")
flags.DEFINE_bool("overwrite", False, "Replace a dataset of this name in --output.")


def write(source):
    """Converts a source to the dataset that the flags name, and prints what it holds."""
    import tensorflow as tf

    from tfface.data.conversion.convert import convert

    tf.config.set_visible_devices([], "GPU")  # A training may need its memory.
    result = convert(
        source,
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
    print(f"skipped: {len(result.skipped)}")
    print(f"next: python tfrecords_tools/inspect_records.py --input={shlex.quote(FLAGS.output)}")
