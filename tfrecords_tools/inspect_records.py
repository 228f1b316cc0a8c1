"""Launches `tfface.cli.records.inspect_records`."""

import runpy

if __name__ == "__main__":
    runpy.run_module("tfface.cli.records.inspect_records", run_name="__main__", alter_sys=True)
