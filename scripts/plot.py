"""Launches `tfface plot`."""

import sys

from tfface.cli.main import main

if __name__ == "__main__":
    main(["plot", *sys.argv[1:]])
