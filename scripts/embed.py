"""Launches `tfface embed`."""

import sys

from tfface.cli.main import main

if __name__ == "__main__":
    main(["embed", *sys.argv[1:]])
