"""Embeds images with a model and writes one vector per image to a file.

Examples:
  tfface embed --model=runs/quickstart/export/1 --data=photos --output=photos.npz
  tfface embed --model=runs/cfp --data=records/cfp/heldout --output=heldout.tfrecord --flip

An interrupted run leaves its work in OUTPUT.partial; the same command continues from there and writes the same
bytes as an uninterrupted run. So does one with --beam, by several processes or machines.
"""

from absl import flags

from tfface.cli import program
from tfface.cli.flag_groups import beam_flags, folder_flags

_MODEL = flags.DEFINE_string("model", None, "SavedModel folder, run folder or .keras file.", required=True)
_DATA = flags.DEFINE_string(
    "data", None, "Records (dataset folder or glob), or a folder root/identity/image.jpg.", required=True
)
_OUTPUT = flags.DEFINE_string("output", None, "File to write: NAME.npz or NAME.tfrecord.", required=True)
_FLIP = flags.DEFINE_bool("flip", False, "Add the embedding of the flipped image.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Images per batch.", lower_bound=1)
_SKIP_BAD = flags.DEFINE_bool("skip_bad", False, "Leave out damaged records and files.")


def main() -> None:
    # Imported here, so that --help and wrong flags answer at once.
    from tfface import jobs

    if not _OUTPUT.value.endswith((".npz", ".tfrecord")):
        raise ValueError(f"--output must end in .npz or .tfrecord, got {_OUTPUT.value!r}.")
    from tfface.export.embedding.beam import piece_writer

    write = beam_flags.made_for_pipeline(piece_writer)
    opened = jobs.open_images(_DATA.value, _SKIP_BAD.value, folder_flags.DEPTH.value)
    embeddings = jobs.embed_images(
        _MODEL.value, _DATA.value, _OUTPUT.value, _FLIP.value, _BATCH_SIZE.value, opened, write
    )
    count, dim = embeddings.vectors.shape
    print(f"{_OUTPUT.value}: {count} embeddings of {dim} dimensions")
    print(f"next: tfface evaluate --model={_OUTPUT.value} --data={_DATA.value}")


if __name__ == "__main__":
    program.run(main)
