"""Launches `tfface.cli.train`."""

import runpy

if __name__ == "__main__":
    runpy.run_module("tfface.cli.train", run_name="__main__", alter_sys=True)
