"""Launches `tfface records reshard`."""

import sys

from tfface.cli.main import main

if __name__ == "__main__":
    main(["records", "reshard", *sys.argv[1:]])
