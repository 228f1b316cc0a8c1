"""Launches `tfface plan`."""

import sys

from tfface.cli.main import main

if __name__ == "__main__":
    main(["plan", *sys.argv[1:]])
