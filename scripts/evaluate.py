"""Launches `tfface evaluate`."""

import sys

from tfface.cli.main import main

if __name__ == "__main__":
    main(["evaluate", *sys.argv[1:]])
