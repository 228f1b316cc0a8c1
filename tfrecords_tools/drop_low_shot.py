"""Launches `tfface.cli.records.drop_low_shot`."""

import runpy

if __name__ == "__main__":
    runpy.run_module("tfface.cli.records.drop_low_shot", run_name="__main__", alter_sys=True)
