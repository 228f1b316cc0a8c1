"""Launches `tfface.cli.records.to_folder`."""

import runpy

if __name__ == "__main__":
    runpy.run_module("tfface.cli.records.to_folder", run_name="__main__", alter_sys=True)
