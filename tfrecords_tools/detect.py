"""Launches `tfface records detect`."""

import sys

from tfface.cli.main import main

if __name__ == "__main__":
    main(["records", "detect", *sys.argv[1:]])
