"""Converts an InsightFace verification set, such as lfw.bin, to TFRecords and a table of its pairs.

    python tfrecords_tools/from_bin.py --input=faces_emore/lfw.bin --output=records/lfw
    python scripts/evaluate.py --model=exported/1 --data=records/lfw --protocol=records/lfw/pairs.csv

The file is a pickle; nothing in it is executed. It says which pairs are genuine, and nothing else about identities.
"""

import pathlib

from absl import flags

from tfface.cli import dataset_output, program

flags.adopt_module_key_flags(dataset_output)
_INPUT = flags.DEFINE_string("input", None, "The .bin file.", required=True)


def main() -> None:
    # Imported here, so that wrong flags are reported without waiting for TensorFlow.
    from tfface.data.protocols.pairs import write_pairs
    from tfface.data.sources.insightface_bin import BinSource
    from tfface.data.sources.records_source import RecordsSource

    source = BinSource(_INPUT.value)
    pairs = source.pairs()
    dataset_output.write(source)
    kept, dropped = pairs.restrict(item.key for item in RecordsSource(dataset_output.FLAGS.output).items())
    path = pathlib.Path(dataset_output.FLAGS.output) / "pairs.csv"
    write_pairs(path, kept)
    print(f"{path}: {len(kept)} pairs" + (f"; {dropped} had a bad image" if dropped else ""))


if __name__ == "__main__":
    program.run(main)
