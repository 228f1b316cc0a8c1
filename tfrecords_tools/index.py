"""Launches `tfface records index`."""

import sys

from tfface.cli.main import main

if __name__ == "__main__":
    main(["records", "index", *sys.argv[1:]])
