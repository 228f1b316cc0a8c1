"""Aligns the faces of photographs by their landmarks and writes them to a dataset.

    tfface records align --input=photos --landmarks=landmarks.csv --output=records/aligned
    tfface records align --input=cfp/Data/Images --cfp_fiducials=cfp/Data/Fiducials --output=records/cfp

If there is no landmarks.csv, `tfface records detect` makes one.
"""

from absl import flags

from tfface.cli import program
from tfface.cli.flag_groups import dataset_output, folder_flags

_INPUT = flags.DEFINE_string("input", None, "Folder root/identity/image.jpg of photographs.", required=True)
_LANDMARKS = flags.DEFINE_string(
    "landmarks", None, "CSV of path,x1,y1,...,x5,y5. Default: landmarks.csv in --input, if present."
)
_CFP_FIDUCIALS = flags.DEFINE_string("cfp_fiducials", None, "CFP's folder Data/Fiducials, instead of --landmarks.")
_IMAGE_SIZE = flags.DEFINE_enum("image_size", "112x112", ["112x112", "112x96"], "Height x width of the aligned faces.")
_QUALITY = flags.DEFINE_integer("quality", 95, "JPEG quality; keys that end in .png stay PNG.", 1, 100)


def main() -> None:
    # Imported here, so that wrong flags are reported without waiting for TensorFlow.
    from tfface.data.formats.cfp_fiducials import read_cfp_fiducials
    from tfface.data.sources.aligned_source import AlignedSource
    from tfface.data.sources.folders import FolderSource

    points = read_cfp_fiducials(_CFP_FIDUCIALS.value) if _CFP_FIDUCIALS.value else None
    photographs = FolderSource(_INPUT.value, _LANDMARKS.value, folder_flags.DEPTH.value)
    height, width = map(int, _IMAGE_SIZE.value.split("x"))
    faces = AlignedSource(photographs, points, (height, width), _QUALITY.value)
    dataset_output.write(faces)
    if faces.cut_off:
        example = min(faces.cut_off)
        print(f"{len(faces.cut_off)} faces lie by more than a tenth outside of their photographs, such as {example}")


if __name__ == "__main__":
    program.run(main)
