"""Launches `tfface compare`."""

import sys

from tfface.cli.main import main

if __name__ == "__main__":
    main(["compare", *sys.argv[1:]])
