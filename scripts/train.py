"""Launches `tfface train`."""

import sys

from tfface.cli.main import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
