"""Draws a figure of the papers from your own runs and embeddings.

Examples:
  tfface plot --figure="PairHistograms(embeddings='lfw.npz')" --output=lfw.png
  tfface list figures

`tfface list figures` lists the figures with their arguments.
"""

from absl import flags

from tfface.cli import program

_FIGURE = flags.DEFINE_string("figure", None, "Figure, such as PairHistograms(embeddings='lfw.npz').", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "File to write: NAME.png, NAME.svg or NAME.pdf.", required=True)


def main() -> None:
    # Imported here, so that --help and wrong flags answer at once.
    from tfface.config import components
    from tfface.figures.base import check_format

    check_format(_OUTPUT.value)
    components.build("figure", _FIGURE.value).draw(_OUTPUT.value)
    print(f"Wrote {_OUTPUT.value}")


if __name__ == "__main__":
    program.run(main)
