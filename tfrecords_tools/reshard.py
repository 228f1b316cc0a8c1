"""Launches `tfface.cli.records.reshard`."""

import runpy

if __name__ == "__main__":
    runpy.run_module("tfface.cli.records.reshard", run_name="__main__", alter_sys=True)
