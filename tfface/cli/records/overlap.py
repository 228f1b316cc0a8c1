"""Lists identities and images that a training set shares with test sets, for `drop-low-shot --exclude`.

    tfface records overlap --train=records/casia --test=records/lfw --output=overlap.csv
    tfface records overlap --train=records/casia --test_names=lfw_names.txt --output=overlap.csv

Names are compared without case, accents and punctuation; images by hashes that survive scaling and recompression.
With --beam, several processes or machines read the images, and the list is the same. If they are interrupted, the same
command continues from the folder OUTPUT.partial.
"""

import contextlib
import functools
import shlex

from absl import flags

from tfface.cli import program
from tfface.cli.flag_groups import beam_flags, folder_flags

_TRAIN = flags.DEFINE_string("train", None, "Training set: dataset, or folder root/identity/image.", required=True)
_TEST = flags.DEFINE_list("test", [], "Test sets: datasets, or folders root/identity/image.")
_TEST_NAMES = flags.DEFINE_string(
    "test_names", None, "Text file with one person's name per line, in addition to --test."
)
_OUTPUT = flags.DEFINE_string("output", None, "CSV file for identity,key,reason.", required=True)
_NAMES = flags.DEFINE_bool("names", True, "Compare identity names with --test; --nonames if they are only numbers.")
_IMAGES = flags.DEFINE_bool("images", True, "Compare images with --test.")


def main() -> None:
    # Imported here, so that wrong flags are reported without waiting for TensorFlow.
    import tensorflow as tf

    from tfface.data.beam_rows import rows_beside
    from tfface.data.curation import overlap
    from tfface.data.formats import text_lists
    from tfface.data.sources.records_source import open_source

    tf.config.set_visible_devices([], "GPU")  # Training may need the GPU's memory.
    if not _TEST.value and not _TEST_NAMES.value:
        raise ValueError("--test or --test_names is needed.")
    names = text_lists.read_lines(_TEST_NAMES.value) if _TEST_NAMES.value else []
    machines = beam_flags.made_for_pipeline(functools.partial(rows_beside, _OUTPUT.value))
    with machines or contextlib.nullcontext() as run:
        shared = overlap.find_overlap(
            open_source(_TRAIN.value, folder_flags.DEPTH.value),
            [open_source(one, folder_flags.DEPTH.value) for one in _TEST.value],
            names,
            by_name=_NAMES.value,
            by_image=_IMAGES.value,
            progress=True,
            run=run,
        )
        overlap.write_exclusions(_OUTPUT.value, shared)
    whole = sum(not one.key for one in shared)
    print(f"in common: {whole} identities by name, {len(shared) - whole} images")
    print(f"list  {_OUTPUT.value}")
    if shared:
        files = f"--input={shlex.quote(_TRAIN.value)} --exclude={shlex.quote(_OUTPUT.value)}"
        print(f"next: tfface records drop-low-shot {files} --output=...")


if __name__ == "__main__":
    program.run(main)
