"""Converts an InsightFace verification set, such as lfw.bin, to TFRecords and a table of its pairs.

    tfface records from-bin --input=faces_emore/lfw.bin --output=records/lfw
    tfface evaluate --model=exported/1 --data=records/lfw --protocol=records/lfw/pairs.csv

The file is a pickle; nothing in it is executed. It says which pairs are genuine, and nothing else about identities.
"""

import pathlib

from absl import flags

from tfface.cli import program
from tfface.cli.flag_groups import dataset_output

_INPUT = flags.DEFINE_string("input", None, "The .bin file.", required=True)


def main() -> None:
    # Imported here, so that wrong flags are reported without waiting for TensorFlow.
    from tfface.data.protocols.pairs import write_pairs
    from tfface.data.sources.insightface_bin import BinSource
    from tfface.data.sources.records_source import RecordsSource

    source = BinSource(_INPUT.value)
    pairs = source.pairs()
    for directory in dataset_output.write(source).datasets:
        # Held-out identities may be in no pair among themselves, because impostor pairs join two identities each.
        keys = {item.key for item in RecordsSource(directory).items()}
        whole = [one in keys and other in keys for one, other in zip(pairs.left, pairs.right, strict=True)]
        path = pathlib.Path(directory) / "pairs.csv"
        path.unlink(missing_ok=True)
        if any(whole):
            write_pairs(path, pairs.restrict(keys)[0])
        left_out = f"; {len(pairs) - sum(whole)} left out: an image is not in the dataset" if not all(whole) else ""
        print(f"{path}: {sum(whole)} pairs{left_out}")


if __name__ == "__main__":
    program.run(main)
