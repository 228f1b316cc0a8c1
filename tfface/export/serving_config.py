"""Configuration files with which TensorFlow Serving serves an export."""

import pathlib

from google.protobuf import text_encoding

from tfface import files

_MODELS = """\
# For tensorflow_model_server --model_config_file=. Of the versions in base_path the highest number is served.
model_config_list {{
  config {{
    name: "{name}"
    base_path: "{base_path}"
    model_platform: "tensorflow"
  }}
}}
"""

_BATCHING = """\
# For tensorflow_model_server --enable_batching --batching_parameters_file=, if you want requests to be merged.
# One undecodable image, or landmarks that fix no alignment, fails the whole batch, the requests of other clients in it
# too. So merge only what trusted clients send that have checked their images, or requests to the signature `aligned`,
# which decodes nothing.

# Images in a batch. A request with more is refused.
max_batch_size { value: 32 }
# How long a request waits for others: not at all, only those that are waiting for a thread already are merged.
batch_timeout_micros { value: 0 }
# Batches that wait; more are refused as unavailable, instead of queueing for ever.
max_enqueued_batches { value: 64 }
# Batches at a time: the number of cores is usual.
num_batch_threads { value: 4 }
"""


def write_serving_config(folder, saved_model):
    """Writes `models.config` and `batching.config` for TensorFlow Serving.

    Args:
      folder: where to write them; made if absent.
      saved_model: the export, NAME/VERSION. It is served as NAME, from where it is now.

    Raises:
      ValueError: TensorFlow Serving cannot find a folder of that name.
    """
    folder = pathlib.Path(folder)
    names = {"name": served_name(saved_model), "base_path": str(pathlib.Path(saved_model).resolve().parent)}
    escaped = {key: text_encoding.CEscape(value, True) for key, value in names.items()}
    files.write_atomically(folder / "models.config", _MODELS.format(**escaped).encode())
    files.write_atomically(folder / "batching.config", _BATCHING.encode())


def served_name(saved_model):
    """Returns the name under which an export NAME/VERSION is served.

    Raises:
      ValueError: VERSION is no number, as TensorFlow Serving requires.
    """
    path = pathlib.Path(saved_model).resolve()
    if not (path.name.isascii() and path.name.isdecimal()):
        raise ValueError(f"TensorFlow Serving wants a version number as the last folder, got {str(saved_model)!r}.")
    return path.parent.name
