"""Says who is on images: the people of a gallery whom they resemble most, against the threshold of a FAR.

Examples:
  tfface identify --model=exported/1 --gallery=people --image=new.jpg
  tfface embed --model=exported/1 --data=people --output=people.npz
  tfface identify --model=exported/1 --gallery=people.npz --image=a.jpg --image=b.jpg --threshold=0.45

All images are aligned faces; the gallery is a folder people/NAME/image.jpg. Below the threshold, an image shows nobody
of the gallery.
"""

from absl import flags

from tfface.cli import program
from tfface.cli.flag_groups import folder_flags

_MODEL = flags.DEFINE_string(
    "model", None, "Export (SavedModel folder, .tflite or .onnx file), run folder or .keras file.", required=True
)
_GALLERY = flags.DEFINE_string(
    "gallery", None, "Folder people/NAME/image.jpg, or the file that `tfface embed` made of it.", required=True
)
_IMAGE = flags.DEFINE_multi_string("image", None, "Image of an aligned face; may be repeated.", required=True)
_FAR = flags.DEFINE_float(
    "far", None, "FAR whose threshold decides. Default: that of the export; 0.001 of a run.", 0, 1
)
_THRESHOLD = flags.DEFINE_float("threshold", None, "Cosine similarity that decides instead.", -1.0, 1.0)
_TOP = flags.DEFINE_integer("top", 3, "People shown per image.", lower_bound=1)
_FLIP = flags.DEFINE_bool("flip", False, "Add the embedding of the flipped image.")


def main() -> None:
    # Imported here, so that --help and wrong flags answer at once.
    from tfface import jobs

    found = jobs.find_people(
        _MODEL.value,
        _GALLERY.value,
        _IMAGE.value,
        far=_FAR.value,
        threshold=_THRESHOLD.value,
        count=_TOP.value,
        flip=_FLIP.value,
        depth=folder_flags.DEPTH.value,
    )
    print(found)


if __name__ == "__main__":
    program.run(main)
