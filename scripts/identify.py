"""Launches `tfface identify`."""

import sys

from tfface.cli.main import main

if __name__ == "__main__":
    main(["identify", *sys.argv[1:]])
