"""Converts a folder of face images, root/identity/.../image.jpg, to TFRecords.

    python tfrecords_tools/from_folder.py --input=images --output=records --holdout_identities=100

Every image is checked. With --holdout_identities the output holds two datasets, `train` and `heldout`, without a person
in common. After an interruption of any kind the same command goes on where it was.
"""

import shlex
import sys

from absl import flags

from tfface.cli import program

FLAGS = flags.FLAGS
flags.DEFINE_string("input", None, "Folder with one folder of JPEG or PNG images per identity, nested at will.")
flags.DEFINE_string("output", None, "Directory for the dataset.")
flags.DEFINE_string("name", None, "Name of the dataset. Default: the last part of --output.")
flags.DEFINE_integer(
    "shards", None, "Shards per dataset, at most one per image; default: about 100 MB each.", lower_bound=1
)
flags.DEFINE_integer("workers", None, "Threads. Default: the number of processors.", lower_bound=1)
flags.DEFINE_integer("holdout_identities", 0, "Identities to hold out for evaluation; 0 for none.", lower_bound=0)
flags.DEFINE_enum("holdout_from", "hash", ["hash", "last"], "Hold out by hash of the name, or the last by name.")
flags.DEFINE_integer("holdout_seed", 0, "Another seed makes --holdout_from=hash choose other identities.")
flags.DEFINE_string("landmarks", None, "CSV of path,x1,y1,...,x5,y5. Default: landmarks.csv in --input, if present.")
flags.DEFINE_bool("skip_bad", False, "Leave bad images out and list them in skipped.txt, instead of stopping.")
flags.DEFINE_bool("overwrite", False, "Replace datasets of this name in --output.")
flags.DEFINE_multi_string(
    "beam",
    None,
    "Convert by Apache Beam with this option of the pipeline; may be repeated: --beam=--runner=FlinkRunner.",
)
flags.mark_flags_as_required(["input", "output"])


def main():
    # Here, so that wrong flags are reported without waiting for TensorFlow.
    import tensorflow as tf

    from tfface.data import convert_folder

    tf.config.set_visible_devices([], "GPU")  # Conversion must not take a training's memory.
    write = None
    if FLAGS.beam:
        from apache_beam.options.pipeline_options import PipelineOptions

        from tfface.data.conversion.beam import shard_writer

        write = shard_writer(PipelineOptions(FLAGS.beam))
    result = convert_folder(
        FLAGS.input,
        FLAGS.output,
        name=FLAGS.name,
        num_shards=FLAGS.shards,
        workers=FLAGS.workers,
        holdout_identities=FLAGS.holdout_identities,
        holdout_from=FLAGS.holdout_from,
        holdout_seed=FLAGS.holdout_seed,
        landmarks=FLAGS.landmarks,
        skip_bad=FLAGS.skip_bad,
        overwrite=FLAGS.overwrite,
        progress=True,
        write=write,
    )
    for key, reason in result.skipped:
        print(f"skipped {key}: {reason}", file=sys.stderr)
    for directory, info in result.datasets.items():
        size = "various sizes" if info.image_size is None else "{1} x {0} pixels".format(*info.image_size)
        print(f"{directory}: {info.images} images of {info.identities} identities, {size}, {len(info.shards)} shard(s)")
        if info.landmarks:
            print(f"  {info.landmarks} of them with landmarks")
    source = result.source
    print(f"skipped: {len(result.skipped)}; ignored: {source.ignored} other files, {source.links} symbolic links")
    data = [
        f"--{kind}_data={shlex.quote(place)}"
        for kind, place in zip(("train", "heldout"), result.datasets, strict=False)
    ]
    print("next: python scripts/train.py", *data)


if __name__ == "__main__":
    program.run(main)
