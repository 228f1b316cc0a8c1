"""Converts a RecordIO pack, such as InsightFace's train.rec, to TFRecords; MXNet is not needed.

    tfface records from-recordio --input=faces_emore/train.rec --output=records/ms1mv2

Images are kept byte for byte, unless EXIF says that they are turned. Identity 7 of the pack is named 00000007, which
keeps the order of the labels.
"""

from absl import flags

from tfface.cli import program
from tfface.cli.flag_groups import dataset_output

_INPUT = flags.DEFINE_string("input", None, "The .rec file.", required=True)
_INDEX = flags.DEFINE_string(
    "index", None, "Its .idx file; only the records listed there are read. Default: the one beside."
)


def main() -> None:
    # Imported here, so that wrong flags are reported without waiting for TensorFlow.
    from tfface.data.sources.recordio_source import RecordIOSource

    dataset_output.write(RecordIOSource(_INPUT.value, _INDEX.value))


if __name__ == "__main__":
    program.run(main)
