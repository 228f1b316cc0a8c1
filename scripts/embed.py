"""Launches `tfface.cli.embed`."""

import runpy

if __name__ == "__main__":
    runpy.run_module("tfface.cli.embed", run_name="__main__", alter_sys=True)
