"""Launches `tfface.cli.records.to_recordio`."""

import runpy

if __name__ == "__main__":
    runpy.run_module("tfface.cli.records.to_recordio", run_name="__main__", alter_sys=True)
