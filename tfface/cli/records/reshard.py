"""Rewrites a dataset with another number of shards or another name.

tfface records reshard --input=records/casia --output=records/casia256 --shards=256
"""

from absl import flags

from tfface.cli import program
from tfface.cli.flag_groups import dataset_output

_INPUT = flags.DEFINE_string("input", None, "Dataset: a directory, or a glob of shards.", required=True)


def main() -> None:
    # Imported here, so that wrong flags are reported without waiting for TensorFlow.
    from tfface.data.sources.records_source import RecordsSource

    dataset_output.write(RecordsSource(_INPUT.value))


if __name__ == "__main__":
    program.run(main)
