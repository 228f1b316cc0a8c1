"""Converts a zip archive of face images, identity/.../image.jpg, to TFRecords without unpacking it.

tfface records from-zip --input=omniglot.zip --root=images_background --depth=2 --output=records/omniglot
"""

from absl import flags

from tfface.cli import program
from tfface.cli.flag_groups import dataset_output, folder_flags

_INPUT = flags.DEFINE_string("input", None, "The zip archive.", required=True)
_ROOT = flags.DEFINE_string("root", "", "Folder inside the archive that holds the identities.")


def main() -> None:
    # Imported here, so that wrong flags are reported without waiting for TensorFlow.
    from tfface.data.sources.zip_folders import ZipSource

    dataset_output.write(ZipSource(_INPUT.value, _ROOT.value, folder_flags.DEPTH.value))


if __name__ == "__main__":
    program.run(main)
