"""Converts a folder of face images, root/identity/.../image.jpg, to TFRecords.

    tfface records from-folder --input=images --output=records --holdout_identities=100

Every image is checked. With --holdout_identities the output holds two datasets, `train` and `heldout`, which share no
identity. After any interruption the same command continues.
"""

import functools

from absl import flags

from tfface.cli import program
from tfface.cli.flag_groups import dataset_output, folder_flags

_INPUT = flags.DEFINE_string(
    "input",
    None,
    "Folder with one folder of JPEG or PNG images per identity; deeper folders are allowed.",
    required=True,
)
_LANDMARKS = flags.DEFINE_string(
    "landmarks", None, "CSV of path,x1,y1,...,x5,y5. Default: landmarks.csv in --input, if present."
)


def main() -> None:
    # Imported here, so that wrong flags are reported without waiting for TensorFlow.
    from tfface.data.conversion.convert import convert_folder

    dataset_output.run(
        functools.partial(convert_folder, _INPUT.value, landmarks=_LANDMARKS.value, depth=folder_flags.DEPTH.value)
    )


if __name__ == "__main__":
    program.run(main)
