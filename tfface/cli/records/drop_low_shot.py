"""Drops identities from a dataset: those with few images, and those on an exclusion list.

tfface records drop-low-shot --input=records/casia --output=records/casia10 --min_images=10
tfface records drop-low-shot --input=records/casia --output=records/clean --exclude=overlap.csv
"""

import functools

from absl import flags

from tfface.cli import program
from tfface.cli.flag_groups import dataset_output

_INPUT = flags.DEFINE_string("input", None, "Dataset: a directory, or a glob of shards.", required=True)
_MIN_IMAGES = flags.DEFINE_integer("min_images", 1, "Drop identities with fewer images.", lower_bound=1)
_EXCLUDE = flags.DEFINE_string(
    "exclude", None, "CSV of identity,key, as `tfface records overlap` writes; dropped first."
)


def main() -> None:
    # Imported here, so that wrong flags are reported without waiting for TensorFlow.
    from tfface.data.curation import cleaning
    from tfface.data.sources.combined_sources import Transformed
    from tfface.data.sources.records_source import RecordsSource

    records = RecordsSource(_INPUT.value)
    exclude = functools.partial(cleaning.exclude, path=_EXCLUDE.value)
    source = Transformed(records, exclude) if _EXCLUDE.value else records
    dataset_output.write(Transformed(source, functools.partial(cleaning.drop_low_shot, min_images=_MIN_IMAGES.value)))


if __name__ == "__main__":
    program.run(main)
