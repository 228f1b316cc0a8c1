"""Launches `tfface.cli.compare`."""

import runpy

if __name__ == "__main__":
    runpy.run_module("tfface.cli.compare", run_name="__main__", alter_sys=True)
