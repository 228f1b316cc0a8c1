"""Launches `tfface.cli.records.relabel`."""

import runpy

if __name__ == "__main__":
    runpy.run_module("tfface.cli.records.relabel", run_name="__main__", alter_sys=True)
