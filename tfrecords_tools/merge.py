"""Launches `tfface.cli.records.merge`."""

import runpy

if __name__ == "__main__":
    runpy.run_module("tfface.cli.records.merge", run_name="__main__", alter_sys=True)
