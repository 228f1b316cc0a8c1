"""Writes the index of a dataset: the length and the label of every record, which trainings then need not read.

    tfface records index --input=records/casia

Every program that makes a dataset also writes its index; this one is for datasets of release 0.1, and for an index that
was lost.
"""

from absl import flags

from tfface.cli import program

_INPUT = flags.DEFINE_string("input", None, "Directory of the dataset.", required=True)


def main() -> None:
    # Imported here, so that wrong flags are reported without waiting for TensorFlow.
    import tensorflow as tf

    from tfface.data.identity_index import index_dataset
    from tfface.data.index_file import INDEX_FILE

    tf.config.set_visible_devices([], "GPU")  # Training may need the GPU's memory.
    print(f"{_INPUT.value}: {index_dataset(_INPUT.value)} records in {INDEX_FILE}")


if __name__ == "__main__":
    program.run(main)
