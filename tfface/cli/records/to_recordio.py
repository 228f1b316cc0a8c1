"""Writes a dataset as a RecordIO pack in InsightFace's layout: train.rec, train.idx and property.

    tfface records to-recordio --input=records/casia --output=casia_pack

Images are kept byte for byte, and labels are those of the dataset. The file `property` states the size of the images;
it is written if all have the same size.
"""

import sys

from absl import flags

from tfface.cli import program

_INPUT = flags.DEFINE_string("input", None, "Directory of the dataset.", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "New folder; it must not exist.", required=True)
_SKIP_BAD = flags.DEFINE_bool("skip_bad", False, "Leave damaged records out, instead of stopping.")


def main() -> None:
    # Imported here, so that wrong flags are reported without waiting for TensorFlow.
    from tfface.data.conversion.export_records import export_recordio
    from tfface.data.formats.left_out import summary
    from tfface.data.records import DatasetInfo
    from tfface.data.sources.records_source import RecordsSource

    count, skipped = export_recordio(
        RecordsSource(_INPUT.value),
        _OUTPUT.value,
        image_size=DatasetInfo.load(_INPUT.value).image_size,
        skip_bad=_SKIP_BAD.value,
        progress=True,
    )
    for place, reason in skipped:
        print(f"skipped {place}: {reason}", file=sys.stderr)
    print(f"{_OUTPUT.value}: {summary(count, skipped)}")


if __name__ == "__main__":
    program.run(main)
