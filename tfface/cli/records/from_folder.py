"""Converts a folder of face images, root/identity/.../image.jpg, to TFRecords.

    python tfrecords_tools/from_folder.py --input=images --output=records --holdout_identities=100

Every image is checked. With --holdout_identities the output holds two datasets, `train` and `heldout`, which share no
identity. After any interruption the same command continues.
"""

import functools
import shlex
from typing import TYPE_CHECKING, cast

from absl import flags

from tfface.cli import dataset_output, program

if TYPE_CHECKING:
    from tfface.data.sources.folders import FolderSource

flags.adopt_module_key_flags(dataset_output)
_INPUT = flags.DEFINE_string(
    "input",
    None,
    "Folder with one folder of JPEG or PNG images per identity; deeper folders are allowed.",
    required=True,
)
_HOLDOUT_IDENTITIES = flags.DEFINE_integer(
    "holdout_identities", 0, "Identities to hold out for evaluation; 0 for none.", lower_bound=0
)
_HOLDOUT_FROM = flags.DEFINE_enum(
    "holdout_from",
    "hash",
    ["hash", "last"],
    "Choose held-out identities by a hash of their names, or the last by name.",
)
_HOLDOUT_SEED = flags.DEFINE_integer("holdout_seed", 0, "Seed of the choice by hash.")
_LANDMARKS = flags.DEFINE_string(
    "landmarks", None, "CSV of path,x1,y1,...,x5,y5. Default: landmarks.csv in --input, if present."
)
_BEAM = flags.DEFINE_multi_string(
    "beam",
    None,
    "Convert with Apache Beam and this option of its pipeline; may be repeated: --beam=--runner=FlinkRunner.",
)


def main() -> None:
    # Imported here, so that wrong flags are reported without waiting for TensorFlow.
    from tfface.data.conversion.convert import convert_folder

    write = None
    if _BEAM.value:
        from apache_beam.options.pipeline_options import PipelineOptions

        from tfface.data.conversion.beam import shard_writer

        write = shard_writer(PipelineOptions(_BEAM.value))
    result = dataset_output.run(
        functools.partial(
            convert_folder,
            _INPUT.value,
            holdout_identities=_HOLDOUT_IDENTITIES.value,
            holdout_from=_HOLDOUT_FROM.value,
            holdout_seed=_HOLDOUT_SEED.value,
            landmarks=_LANDMARKS.value,
            write=write,
        )
    )
    source = cast("FolderSource", result.source)
    print(f"skipped: {len(result.skipped)}; ignored: {source.ignored} other files, {source.links} symbolic links")
    data = [
        f"--{kind}_data={shlex.quote(place)}"
        for kind, place in zip(("train", "heldout"), result.datasets, strict=False)
    ]
    print("next: python scripts/train.py", *data)


if __name__ == "__main__":
    program.run(main)
