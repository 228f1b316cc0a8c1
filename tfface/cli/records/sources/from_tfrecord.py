"""Converts TFRecord files of other programs to a dataset, whatever their fields are called.

    tfface records from-tfrecord --input='a/*.tfrecord' --image=image_raw --label=person --output=records/a

Files may be compressed with gzip or zlib. The identity is named by the label, a text or a number.
"""

from absl import flags

from tfface.cli import program
from tfface.cli.flag_groups import dataset_output

_INPUT = flags.DEFINE_string("input", None, "Glob of TFRecord files.", required=True)
_IMAGE = flags.DEFINE_string("image", "image", "Field with the JPEG or PNG file.")
_LABEL = flags.DEFINE_string("label", "label", "Field with the identity, a text or a whole number.")
_FIELD_OF_NAME = flags.DEFINE_string(
    "name_field", None, "Field with the name of the image. Default: images are numbered."
)


def main() -> None:
    # Imported here, so that wrong flags are reported without waiting for TensorFlow.
    from tfface.data.sources.tfrecord_source import TFRecordSource

    dataset_output.write(TFRecordSource(_INPUT.value, _IMAGE.value, _LABEL.value, _FIELD_OF_NAME.value))


if __name__ == "__main__":
    program.run(main)
