"""Gives the images of a dataset other identities: by a table, or wrong ones on purpose.

    python tfrecords_tools/relabel.py --input=records/casia --output=records/casia_fixed --table=fixes.csv
    python tfrecords_tools/relabel.py --input=records/casia --output=records/casia_noise40 --shuffle=0.4 --seed=1

The table has the columns identity,new_identity or key,new_identity; where the new identity is empty, images are left
out. --shuffle permutes this share of the labels of every class, as in section 4.3 of SphereFace2.
"""

import functools

from absl import flags

from tfface.cli import dataset_output, program

_INPUT = flags.DEFINE_string("input", None, "Dataset: a directory, or a glob of shards.", required=True)
_TABLE = flags.DEFINE_string("table", None, "CSV of identity,new_identity or key,new_identity.")
_SHUFFLE = flags.DEFINE_float("shuffle", 0, "Share of the labels of every class to shuffle; after --table.")
_SEED = flags.DEFINE_integer("seed", 0, "Another seed makes --shuffle choose others.")


def main():
    # Here, so that wrong flags are reported without waiting for TensorFlow.
    from tfface.data.curation import cleaning
    from tfface.data.curation.label_noise import shuffle_labels
    from tfface.data.sources.combined_sources import Transformed
    from tfface.data.sources.records_source import RecordsSource

    if not _TABLE.value and not _SHUFFLE.value:
        raise ValueError("nothing to change: --table or --shuffle is needed.")
    source = RecordsSource(_INPUT.value)
    if _TABLE.value:
        source = Transformed(source, functools.partial(cleaning.relabel, path=_TABLE.value))
    if _SHUFFLE.value:
        source = Transformed(source, functools.partial(shuffle_labels, fraction=_SHUFFLE.value, seed=_SEED.value))
    dataset_output.write(source)


if __name__ == "__main__":
    program.run(main)
