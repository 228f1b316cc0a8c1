"""Launches `tfface.cli.records.from_tfrecord`."""

import runpy

if __name__ == "__main__":
    runpy.run_module("tfface.cli.records.from_tfrecord", run_name="__main__", alter_sys=True)
