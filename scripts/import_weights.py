"""Launches `tfface import-weights`."""

import sys

from tfface.cli.main import main

if __name__ == "__main__":
    main(["import-weights", *sys.argv[1:]])
