"""Embeds or compares images with a model that TensorFlow Serving serves.

Examples:
  tfface serving-client --server=http://localhost:8501 --model=faces --images=photos --output=photos.npz
  tfface serving-client --server=grpc://localhost:8500 --model=faces --compare=a.jpg,b.jpg

Images are aligned faces, or photographs with a table of landmarks. If some cannot be embedded, they are listed on
stderr, the others are written, and the exit status is 1. Over REST, TensorFlow is imported only to write the file.
"""

import os
import sys
from typing import TYPE_CHECKING

from absl import flags

from tfface.cli import program
from tfface.cli.flag_groups import folder_flags

if TYPE_CHECKING:
    from tfface import serving

_SERVER = flags.DEFINE_string(
    "server", None, "http://host:8501 or grpc://host:8500; https://host:port or grpcs://host:port.", required=True
)
_MODEL = flags.DEFINE_string("model", None, "Name of the model on the server.", required=True)
_VERSION = flags.DEFINE_integer("version", None, "Version of the model. Default: the newest.", lower_bound=0)
_IMAGES = flags.DEFINE_list("images", None, "Folder of images, or image files separated by commas.")
_OUTPUT = flags.DEFINE_string("output", None, "File to write: NAME.npz or NAME.tfrecord.")
_LANDMARKS = flags.DEFINE_string(
    "landmarks", None, "CSV file of path,x1,y1,...,x5,y5 for photographs; paths as given, or relative to the folder."
)
_COMPARE = flags.DEFINE_list("compare", None, "Two files of aligned faces, instead of --images.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 32, "Images per request.", lower_bound=1)
_CONCURRENCY = flags.DEFINE_integer("concurrency", 4, "Requests in flight at a time.", lower_bound=1)
_DEADLINE = flags.DEFINE_float("deadline", 60.0, "Seconds that a request may take, retries included.")
_RETRIES = flags.DEFINE_integer("retries", 4, "Retries per request while the server is unavailable.", lower_bound=0)
_HEADER = flags.DEFINE_multi_string(
    "header", [], "'Name: value', sent with every request; may be repeated. Other users of this machine can see it."
)
_TOKEN_FILE = flags.DEFINE_string("token_file", None, "File that holds a token, sent as 'Authorization: Bearer TOKEN'.")
_CA_FILE = flags.DEFINE_string(
    "ca_file", None, "PEM file of the certificate authorities to trust, for https and grpcs."
)
_INSECURE_TOKEN = flags.DEFINE_bool(
    "insecure_token", False, "Send token and headers to another host even without encryption."
)
_WAIT = flags.DEFINE_float("wait", 0.0, "Seconds to wait until the server has loaded the model.", lower_bound=0.0)


def main() -> None:
    # Imported here, so that --help and wrong flags answer at once.
    from tfface import serving

    if bool(_COMPARE.value) == bool(_IMAGES.value):
        raise ValueError("either --images or --compare must be given.")
    if _COMPARE.value and (len(_COMPARE.value) != 2 or _LANDMARKS.value):
        raise ValueError(f"--compare takes two aligned faces and no --landmarks, got {_COMPARE.value}.")
    if _IMAGES.value and not (_OUTPUT.value or "").endswith((".npz", ".tfrecord")):
        raise ValueError(f"--output must end in .npz or .tfrecord, got {_OUTPUT.value!r}.")
    chosen = (_BATCH_SIZE, _CONCURRENCY, _DEADLINE, _RETRIES, _CA_FILE, _INSECURE_TOKEN)
    options = {flag.name: flag.value for flag in chosen}
    options["headers"] = headers()
    if _TOKEN_FILE.value:
        options["token"] = serving.read_token(_TOKEN_FILE.value)
    with serving.connect(_SERVER.value, _MODEL.value, _VERSION.value, **options) as client:
        if _WAIT.value:
            client.wait_until_ready(_WAIT.value)
        if _IMAGES.value:
            embed(client)
        else:
            compare(client)


def headers() -> dict[str, str]:
    """Reads --header into a dict from name to value."""
    pairs = [text.partition(":") for text in _HEADER.value]
    if not all(colon for _, colon, _ in pairs):
        raise ValueError("--header must be 'Name: value'; one has no colon.")
    made = {name.strip(): value.strip(" ") for name, _, value in pairs}
    if len(made) < len(pairs):
        raise ValueError("--header gives one name twice.")
    return made


def compare(client: "serving.Client") -> None:
    """Compares the two files of --compare and prints the similarity."""
    from tfface import serving
    from tfface.data.formats.image_files import read_image_file

    pair = serving.compare_files(client, *_COMPARE.value, read_image_file)
    print(f"similarity {pair.similarity[0]:.4f}")
    if pair.same is not None:
        print(f"{'same person' if pair.same[0] else 'different people'} (threshold {pair.threshold:.4f})")


def embed(client: "serving.Client") -> None:
    """Embeds --images and writes --output."""
    from tfface import serving
    from tfface.data.formats.image_files import read_image_file
    from tfface.data.formats.landmarks import landmarks_of, read_landmarks
    from tfface.data.sources.folders import find_images

    root = _IMAGES.value[0] if len(_IMAGES.value) == 1 and os.path.isdir(_IMAGES.value[0]) else ""
    listing = find_images(root) if root else None
    keys = listing.keys if listing else _IMAGES.value
    if not keys:
        raise ValueError(f"{root} holds no images.")
    landmarks = None
    if _LANDMARKS.value:
        table = read_landmarks(_LANDMARKS.value)
        landmarks = {key: points for key in keys if (points := landmarks_of(key, table)) is not None}
    vectors, kept, bad = serving.embed_files(
        client, keys, lambda key: read_image_file(os.path.join(root, key)), landmarks
    )
    bad.update(listing.unreadable if listing else ())
    # Imported last, because these need TensorFlow.
    from tfface.export import Embeddings, save_embeddings
    from tfface.jobs.image_folders import folder_labels

    labels = folder_labels(kept, folder_flags.DEPTH.value) if root else None
    save_embeddings(_OUTPUT.value, Embeddings(vectors, kept, labels))
    print(f"{_OUTPUT.value}: {len(kept)} embeddings of {vectors.shape[1]} dimensions")
    for key, reason in bad.items():
        print(f"{key}: {reason}", file=sys.stderr)
    if bad:
        raise ValueError(f"{len(bad)} of {len(keys)} images could not be embedded.")


if __name__ == "__main__":
    program.run(main)
