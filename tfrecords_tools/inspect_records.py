"""Launches `tfface records inspect-records`."""

import sys

from tfface.cli.main import main

if __name__ == "__main__":
    main(["records", "inspect-records", *sys.argv[1:]])
