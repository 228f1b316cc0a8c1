"""Launches `tfface records drop-low-shot`."""

import sys

from tfface.cli.main import main

if __name__ == "__main__":
    main(["records", "drop-low-shot", *sys.argv[1:]])
