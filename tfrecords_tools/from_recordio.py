"""Launches `tfface records from-recordio`."""

import sys

from tfface.cli.main import main

if __name__ == "__main__":
    main(["records", "from-recordio", *sys.argv[1:]])
