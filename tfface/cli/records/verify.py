"""Verifies a dataset: checksums, labels and images; also finds duplicate images.

    tfface records verify --input=records/casia --report=verification.csv

The exit status is 1 if something is damaged or contradicts the description. Duplicates are only counted and listed,
because many published datasets have them. With --beam, several processes or machines read the shards, and the report
is the same. If they are interrupted, the same command continues from the folder REPORT.partial.
"""

import contextlib
import functools
import sys

from absl import flags

from tfface.cli import program
from tfface.cli.flag_groups import beam_flags

_INPUT = flags.DEFINE_string("input", None, "Directory of the dataset.", required=True)
_REPORT = flags.DEFINE_string("report", None, "CSV file for problems and duplicates. Default: none.")


def main() -> None:
    # Imported here, so that wrong flags are reported without waiting for TensorFlow.
    import tensorflow as tf

    from tfface.data.beam_rows import rows_beside
    from tfface.data.curation.integrity import verify_dataset, write_report

    if beam_flags.BEAM.value and not _REPORT.value:
        raise ValueError("--beam needs --report: beside it, the machines leave what they find in the shards.")
    tf.config.set_visible_devices([], "GPU")  # Training may need the GPU's memory.
    machines = beam_flags.made_for_pipeline(functools.partial(rows_beside, _REPORT.value))
    with machines or contextlib.nullcontext() as run:
        found = verify_dataset(_INPUT.value, progress=True, run=run)
        if _REPORT.value:
            write_report(_REPORT.value, found)
    for place, reason in found.problems:
        print(f"{place}: {reason}", file=sys.stderr)
    mixed = sum(len(found.identities(group)) > 1 for group in found.duplicates)
    exact = sum(found.is_exact(group) for group in found.duplicates)
    print(f"{_INPUT.value}: {found.images} good images, {len(found.problems)} problems")
    print(f"images that occur more than once: {len(found.duplicates)}, {exact} of them byte for byte")
    print(f"images under more than one identity: {mixed}")
    if _REPORT.value:
        print(f"report  {_REPORT.value}")
    elif found.duplicates:
        print("--report=verification.csv lists them")
    if found.problems:
        raise ValueError(f"{_INPUT.value} is damaged: {len(found.problems)} problems.")


if __name__ == "__main__":
    program.run(main)
