"""Launches `tfface.cli.import_weights`."""

import runpy

if __name__ == "__main__":
    runpy.run_module("tfface.cli.import_weights", run_name="__main__", alter_sys=True)
