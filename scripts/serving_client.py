"""Launches `tfface serving-client`."""

import sys

from tfface.cli.main import main

if __name__ == "__main__":
    main(["serving-client", *sys.argv[1:]])
