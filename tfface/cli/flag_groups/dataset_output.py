"""Shared by the programs that write a dataset: its flags, which hold for any source, and the report of the result."""

import functools
import shlex
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from absl import flags

from tfface.cli import help
from tfface.cli.flag_groups import beam_flags

if TYPE_CHECKING:
    from tfface.data.conversion.convert import Conversion
    from tfface.data.sources.base import Source

FLAGS = flags.FLAGS
_NAMED = 20  # Bad images to name on stderr; skipped.txt names all.
_DATASET = (
    flags.DEFINE_string("output", None, "Directory for the dataset.", required=True),
    flags.DEFINE_string("name", None, "Name of the dataset. Default: the last part of --output."),
    flags.DEFINE_integer(
        "shards", None, "Shards per dataset, at most one per image. Default: about 100 MB per shard.", lower_bound=1
    ),
    flags.DEFINE_string(
        "labels_from",
        None,
        "Dataset whose labels the same people get, for validation_data. Other people are bad images.",
    ),
    flags.DEFINE_bool("overwrite", False, "Replace datasets of this name in --output."),
)
_HOLDOUT = (
    flags.DEFINE_integer(
        "holdout_identities",
        0,
        "Identities to hold out for evaluation: the datasets are OUTPUT/train and OUTPUT/heldout. 0: none.",
        lower_bound=0,
    ),
    flags.DEFINE_enum(
        "holdout_from",
        "hash",
        ["hash", "last"],
        "Choose held-out identities by a hash of their names, or the last by name.",
    ),
    flags.DEFINE_integer("holdout_seed", 0, "Seed of the choice by hash."),
    flags.DEFINE_integer(
        "holdout_images",
        0,
        "Images of each training identity to hold out in OUTPUT/validation, for a validation loss. 0: none.",
        lower_bound=0,
    ),
)
_WORK = (
    flags.DEFINE_integer("workers", None, "Threads. Default: the number of processors.", lower_bound=1),
    flags.DEFINE_bool("skip_bad", False, "Leave bad images out and list them in skipped.txt, instead of stopping."),
    beam_flags.BEAM,
)
for title, group in (("dataset", _DATASET), ("held-out identities", _HOLDOUT), ("work", _WORK)):
    help.topic(title, [flag.name for flag in group])


def write(source: "Source") -> "Conversion":
    """Converts a source to the datasets that the flags name, and prints what they hold."""
    from tfface.data.conversion.convert import convert

    return run(functools.partial(convert, source))


def run(convert: "Callable[..., Conversion]") -> "Conversion":
    """Runs a conversion with the options that the flags name, and prints what it made and what is next.

    Args:
      convert: function of the output directory and of the options of `tfface.data.convert`.

    Returns:
      The result of `convert`.
    """
    import tensorflow as tf

    from tfface.data.conversion.beam import shard_writer
    from tfface.data.formats.left_out import summary

    tf.config.set_visible_devices([], "GPU")  # Training may need the GPU's memory.
    result = convert(
        FLAGS.output,
        name=FLAGS.name,
        num_shards=FLAGS.shards,
        workers=FLAGS.workers,
        holdout_identities=FLAGS.holdout_identities,
        holdout_from=FLAGS.holdout_from,
        holdout_seed=FLAGS.holdout_seed,
        holdout_images=FLAGS.holdout_images,
        labels_from=FLAGS.labels_from,
        skip_bad=FLAGS.skip_bad,
        overwrite=FLAGS.overwrite,
        progress=True,
        write=beam_flags.made_for_pipeline(shard_writer),
    )
    for place, reason in result.skipped[:_NAMED]:
        print(f"skipped {place}: {reason}", file=sys.stderr)
    if result.skipped[_NAMED:]:
        print(f"all {len(result.skipped)} are in {FLAGS.output}/skipped.txt", file=sys.stderr)
    for directory, info in result.datasets.items():
        size = "various sizes" if info.image_size is None else "{1} x {0} pixels".format(*info.image_size)
        print(f"{directory}: {info.images} images of {info.identities} identities, {size}, {len(info.shards)} shard(s)")
        if info.landmarks:
            print(f"  {info.landmarks} of them with landmarks")
    images = sum(info.images for info in result.datasets.values())
    print(summary(images, result.skipped, result.source.passed_over))
    places = [shlex.quote(place) for place in result.datasets]
    if FLAGS.holdout_identities:
        print(f"next: tfface train --train_data={places[0]} --heldout_data={places[1]}")
    elif FLAGS.holdout_images:
        print(f"next: tfface train --train_data={places[0]}")
    else:
        print(f"next: tfface records inspect-records --input={places[0]}")
    return result
