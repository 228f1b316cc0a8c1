"""Launches `tfface.cli.records.verify`."""

import runpy

if __name__ == "__main__":
    runpy.run_module("tfface.cli.records.verify", run_name="__main__", alter_sys=True)
