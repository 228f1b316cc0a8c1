"""Trains the studies on Omniglot and writes their tables and pictures.

Examples:
  python examples/run_studies.py --data=omniglot_background.zip
  python examples/run_studies.py --data=omniglot_background.zip --studies=noise --output=runs/studies
"""

import pathlib

from absl import flags

from tfface.cli import program

_DATA = flags.DEFINE_string("data", None, "Omniglot's images_background, zipped. Without it, nothing is trained.")
_OUTPUT = flags.DEFINE_string(
    "output", "docs/results", "Folder for runs.csv, from which interrupted studies continue, pages and pictures."
)
_STUDIES = flags.DEFINE_list("studies", [], "Names of studies. Default: all.")
_SEEDS = flags.DEFINE_integer("seeds", 3, "Runs of each training.", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", 135, "Steps of a training.", lower_bound=1)


def main():
    # Imported here, so that --help and wrong flags answer at once.
    import studies

    chosen = studies.named(_STUDIES.value)
    output = pathlib.Path(_OUTPUT.value)
    if _DATA.value:
        import tensorflow as tf

        # On networks this small, a second core is better used by a second program.
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        import omniglot
        import study_runs

        study_runs.run(chosen, omniglot.load(_DATA.value), output / "runs.csv", _SEEDS.value, _STEPS.value)
    import study_pages

    study_pages.write(chosen, output, _STEPS.value)


if __name__ == "__main__":
    program.run(main)
