"""Launches `tfface records verify`."""

import sys

from tfface.cli.main import main

if __name__ == "__main__":
    main(["records", "verify", *sys.argv[1:]])
