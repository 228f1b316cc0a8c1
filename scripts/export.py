"""Launches `tfface.cli.export`."""

import runpy

if __name__ == "__main__":
    runpy.run_module("tfface.cli.export", run_name="__main__", alter_sys=True)
