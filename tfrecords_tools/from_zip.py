"""Launches `tfface records from-zip`."""

import sys

from tfface.cli.main import main

if __name__ == "__main__":
    main(["records", "from-zip", *sys.argv[1:]])
