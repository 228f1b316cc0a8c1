"""Launches `tfface.cli.records.overlap`."""

import runpy

if __name__ == "__main__":
    runpy.run_module("tfface.cli.records.overlap", run_name="__main__", alter_sys=True)
