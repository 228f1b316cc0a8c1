"""Relabels the images of a dataset: by a table, or with label noise.

    tfface records relabel --input=records/casia --output=records/casia_fixed --table=fixes.csv
    tfface records relabel --input=records/casia --output=records/casia_noise40 --shuffle=0.4 --seed=1

The table has the columns identity,new_identity or key,new_identity; images with an empty new identity are left out.
--shuffle permutes this share of the labels of every class, as in section 4.3 of SphereFace2.
"""

import functools

from absl import flags

from tfface.cli import program
from tfface.cli.flag_groups import dataset_output

_INPUT = flags.DEFINE_string("input", None, "Dataset: a directory, or a glob of shards.", required=True)
_TABLE = flags.DEFINE_string("table", None, "CSV of identity,new_identity or key,new_identity.")
_SHUFFLE = flags.DEFINE_float("shuffle", 0, "Share of the labels of every class to shuffle, after --table.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of --shuffle.")


def main() -> None:
    # Imported here, so that wrong flags are reported without waiting for TensorFlow.
    from tfface.data.curation import cleaning
    from tfface.data.curation.label_noise import shuffle_labels
    from tfface.data.sources.combined_sources import Transformed
    from tfface.data.sources.records_source import RecordsSource

    if not _TABLE.value and not _SHUFFLE.value:
        raise ValueError("nothing to change: --table or --shuffle is needed.")
    records = RecordsSource(_INPUT.value)
    relabel = functools.partial(cleaning.relabel, path=_TABLE.value)
    relabelled = Transformed(records, relabel) if _TABLE.value else records
    shuffle = functools.partial(shuffle_labels, fraction=_SHUFFLE.value, seed=_SEED.value)
    dataset_output.write(Transformed(relabelled, shuffle) if _SHUFFLE.value else relabelled)


if __name__ == "__main__":
    program.run(main)
