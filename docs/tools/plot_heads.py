"""Draws the curves of the heads that docs/heads shows.

Example:
  python docs/tools/plot_heads.py --output=docs/heads/curves
"""

import os

from absl import flags

from tfface.cli import program

_OUTPUT = flags.DEFINE_string("output", "docs/heads/curves", "Folder for the PNG files.")


def main():
    # Imported here, so that --help and wrong flags answer at once.
    import curves

    from tfface import files

    for name, plot in curves.PLOTS.items():
        path = os.path.join(_OUTPUT.value, f"{name}.png")
        files.write_atomically(path, curves.to_png(plot()))
        print(f"Wrote {path}")


if __name__ == "__main__":
    program.run(main)
