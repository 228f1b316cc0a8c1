"""Detects the five landmarks of the main face in every photograph; needs the extra tfface[detection].

tfface records detect --input=photos --output=landmarks.csv
"""

import shlex
import sys

from absl import flags

from tfface.cli import program

_INPUT = flags.DEFINE_string("input", None, "Folder root/identity/image.jpg of photographs.", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "CSV file for path,x1,y1,...,x5,y5.", required=True)


def main() -> None:
    # Imported here, so that wrong flags are reported without waiting for TensorFlow.
    import tensorflow as tf

    from tfface.data.formats.landmarks import write_landmarks
    from tfface.data.formats.left_out import printable, summary
    from tfface.data.images.detection import detect_all
    from tfface.data.sources.folders import FolderSource

    tf.config.set_visible_devices([], "GPU")  # Training may need the GPU's memory.
    source = FolderSource(_INPUT.value)
    found, missing = detect_all(source, progress=True)
    write_landmarks(_OUTPUT.value, found)
    for place, reason in missing:
        print(f"{printable(place)}: {reason}", file=sys.stderr)
    print(f"{_OUTPUT.value}: landmarks of {summary(len(found), missing, source.passed_over)}")
    files = f"--input={shlex.quote(_INPUT.value)} --landmarks={shlex.quote(_OUTPUT.value)}"
    print(f"next: tfface records align {files} --output=..." + (" --skip_bad" if missing else ""))


if __name__ == "__main__":
    program.run(main)
