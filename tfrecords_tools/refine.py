"""Launches `tfface records refine`."""

import sys

from tfface.cli.main import main

if __name__ == "__main__":
    main(["records", "refine", *sys.argv[1:]])
