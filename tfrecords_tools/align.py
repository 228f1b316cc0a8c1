"""Launches `tfface.cli.records.align`."""

import runpy

if __name__ == "__main__":
    runpy.run_module("tfface.cli.records.align", run_name="__main__", alter_sys=True)
