"""Launches `tfface records align`."""

import sys

from tfface.cli.main import main

if __name__ == "__main__":
    main(["records", "align", *sys.argv[1:]])
