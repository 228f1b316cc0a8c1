"""Launches `tfface.cli.records.detect`."""

import runpy

if __name__ == "__main__":
    runpy.run_module("tfface.cli.records.detect", run_name="__main__", alter_sys=True)
