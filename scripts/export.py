"""Launches `tfface export`."""

import sys

from tfface.cli.main import main

if __name__ == "__main__":
    main(["export", *sys.argv[1:]])
