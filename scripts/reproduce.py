"""Launches `tfface reproduce`."""

import sys

from tfface.cli.main import main

if __name__ == "__main__":
    main(["reproduce", *sys.argv[1:]])
