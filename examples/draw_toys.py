"""Draws the toys of the papers on Omniglot: embeddings of two dimensions, and cosines between class weights.

Example:
  python examples/draw_toys.py --data=omniglot_background.zip
"""

import pathlib

from absl import flags

from tfface.cli import program

_DATA = flags.DEFINE_string("data", None, "Omniglot's images_background, zipped.", required=True)
_OUTPUT = flags.DEFINE_string("output", "docs/results", "Folder for toys.svg and cosines.svg.")
_EPOCHS = flags.DEFINE_integer("epochs", 150, "Epochs of a toy, of 160 images each.", lower_bound=1)


def main():
    # Imported here, so that --help and wrong flags answer at once.
    import omniglot
    import toys

    from tfface import files
    from tfface.evaluation.reports import plots

    figures = toys.draw(*omniglot.load(_DATA.value)[0], _EPOCHS.value)
    for name, figure in zip(("toys", "cosines"), figures, strict=True):
        files.write_atomically(pathlib.Path(_OUTPUT.value) / f"{name}.svg", plots.to_svg(figure))


if __name__ == "__main__":
    program.run(main)
