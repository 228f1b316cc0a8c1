"""Converts a list of images and labels to TFRecords.

    tfface records from-list --input=train.csv --root=images --output=records/train

The list is CSV with the columns path, label and, optionally, x1,y1,...,x5,y5, or MXNet's .lst with tab-separated
index, label and path.
"""

from absl import flags

from tfface.cli import program
from tfface.cli.flag_groups import dataset_output

_INPUT = flags.DEFINE_string("input", None, "The list, .csv or .lst.", required=True)
_ROOT = flags.DEFINE_string("root", None, "Folder to which its paths are relative. Default: that of the list.")


def main() -> None:
    # Imported here, so that wrong flags are reported without waiting for TensorFlow.
    from tfface.data.sources.image_lists import ListSource

    dataset_output.write(ListSource(_INPUT.value, _ROOT.value))


if __name__ == "__main__":
    program.run(main)
