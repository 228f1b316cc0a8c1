"""Launches `tfface records to-recordio`."""

import sys

from tfface.cli.main import main

if __name__ == "__main__":
    main(["records", "to-recordio", *sys.argv[1:]])
