"""Launches `tfface.cli.serving_client`."""

import runpy

if __name__ == "__main__":
    runpy.run_module("tfface.cli.serving_client", run_name="__main__", alter_sys=True)
