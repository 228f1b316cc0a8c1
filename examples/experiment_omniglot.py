"""Trains ArcFace with and without BroadFace on characters of Omniglot, and measures recall on others.

Example:
  python examples/experiment_omniglot.py --data=omniglot_background.zip --output=runs/omniglot
"""

import os

from absl import flags

from tfface.cli import program

_DATA = flags.DEFINE_string("data", None, "Omniglot's images_background, zipped.", required=True)
_OUTPUT = flags.DEFINE_string(
    "output", "runs/omniglot", "Folder for recall.csv, from which an interrupted experiment goes on, and pictures."
)
_SEEDS = flags.DEFINE_integer("seeds", 3, "Runs of each variant.", lower_bound=1)
_EPOCHS = flags.DEFINE_integer("epochs", 8, "Epochs of a run.", lower_bound=1)
_LEARNING_RATE = flags.DEFINE_float("learning_rate", 0.1, "Learning rate, constant.", lower_bound=0.0)


def main():
    # Imported here, so that --help and wrong flags answer at once.
    import omniglot

    from tfface import files

    recalls = omniglot.run(_DATA.value, _OUTPUT.value, _SEEDS.value, _EPOCHS.value, _LEARNING_RATE.value)
    picture = os.path.join(_OUTPUT.value, "recall.png")
    with files.replacing(picture) as temporary:
        omniglot.figure(recalls).savefig(temporary, format="png")
    print(omniglot.table(recalls))


if __name__ == "__main__":
    program.run(main)
