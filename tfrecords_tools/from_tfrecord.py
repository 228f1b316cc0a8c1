"""Launches `tfface records from-tfrecord`."""

import sys

from tfface.cli.main import main

if __name__ == "__main__":
    main(["records", "from-tfrecord", *sys.argv[1:]])
