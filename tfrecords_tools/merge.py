"""Launches `tfface records merge`."""

import sys

from tfface.cli.main import main

if __name__ == "__main__":
    main(["records", "merge", *sys.argv[1:]])
