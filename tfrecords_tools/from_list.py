"""Launches `tfface records from-list`."""

import sys

from tfface.cli.main import main

if __name__ == "__main__":
    main(["records", "from-list", *sys.argv[1:]])
