"""Writes the images of a dataset to a folder identity/.../image, byte for byte, and known landmarks to landmarks.csv.

tfface records to-folder --input=records/casia --output=casia
"""

import sys

from absl import flags

from tfface.cli import program

_INPUT = flags.DEFINE_string("input", None, "Dataset: a directory, or a glob of shards.", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "New folder; it must not exist.", required=True)
_SKIP_BAD = flags.DEFINE_bool("skip_bad", False, "Leave damaged records out, instead of stopping.")


def main() -> None:
    # Imported here, so that wrong flags are reported without waiting for TensorFlow.
    from tfface.data.conversion.export_records import export_folder
    from tfface.data.formats.left_out import summary
    from tfface.data.sources.records_source import RecordsSource

    count, skipped = export_folder(RecordsSource(_INPUT.value), _OUTPUT.value, skip_bad=_SKIP_BAD.value, progress=True)
    for place, reason in skipped:
        print(f"skipped {place}: {reason}", file=sys.stderr)
    print(f"{_OUTPUT.value}: {summary(count, skipped)}")


if __name__ == "__main__":
    program.run(main)
