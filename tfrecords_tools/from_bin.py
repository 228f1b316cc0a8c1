"""Launches `tfface records from-bin`."""

import sys

from tfface.cli.main import main

if __name__ == "__main__":
    main(["records", "from-bin", *sys.argv[1:]])
