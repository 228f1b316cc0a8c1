"""Plants wrong labels in Omniglot or CFP, refines them with models trained on them, and measures what is found.

Example:
  python examples/experiment_refinement.py --data=omniglot_background.zip --output=runs/refinement
  python examples/experiment_refinement.py --data=cfp112/Data/Images --output=runs/refinement_cfp --epochs=20
"""

import os

from absl import flags

from tfface.cli import program

_DATA = flags.DEFINE_string("data", None, "Omniglot's images_background, zipped, or a folder of faces.", required=True)
_OUTPUT = flags.DEFINE_string(
    "output", "runs/refinement", "Folder for results.csv, from which an interrupted experiment continues."
)
_NOISES = flags.DEFINE_list("noises", ["5", "20", "40"], "Shares of shuffled labels, in %.")
_SEEDS = flags.DEFINE_integer("seeds", 3, "Runs of each noise.", lower_bound=1)
_EPOCHS = flags.DEFINE_integer("epochs", 8, "Epochs of a training.", lower_bound=1)


def main():
    # Imported here, so that --help and wrong flags answer at once.
    import refinement

    from tfface import files

    results = refinement.run(_DATA.value, _OUTPUT.value, list(map(int, _NOISES.value)), _SEEDS.value, _EPOCHS.value)
    text = refinement.table(results)
    files.write_atomically(os.path.join(_OUTPUT.value, "table.md"), f"{text}\n".encode())
    print(text)


if __name__ == "__main__":
    program.run(main)
