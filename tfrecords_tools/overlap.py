"""Launches `tfface records overlap`."""

import sys

from tfface.cli.main import main

if __name__ == "__main__":
    main(["records", "overlap", *sys.argv[1:]])
