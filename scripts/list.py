"""Launches `tfface list`."""

import sys

from tfface.cli.main import main

if __name__ == "__main__":
    main(["list", *sys.argv[1:]])
