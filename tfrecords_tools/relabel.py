"""Launches `tfface records relabel`."""

import sys

from tfface.cli.main import main

if __name__ == "__main__":
    main(["records", "relabel", *sys.argv[1:]])
