"""Launches `tfface records from-folder`."""

import sys

from tfface.cli.main import main

if __name__ == "__main__":
    main(["records", "from-folder", *sys.argv[1:]])
