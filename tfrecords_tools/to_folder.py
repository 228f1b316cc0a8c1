"""Launches `tfface records to-folder`."""

import sys

from tfface.cli.main import main

if __name__ == "__main__":
    main(["records", "to-folder", *sys.argv[1:]])
