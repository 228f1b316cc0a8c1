"""Configuration files of TensorFlow Serving for an export."""

import os
import pathlib
import posixpath

from google.protobuf import text_encoding

from tfface import files

_MODELS = """\
# For tensorflow_model_server --model_config_file=. The highest version number in base_path is served.
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
# One undecodable image, or landmarks that fix no alignment, fails the whole batch, with the requests of other clients.
# So merge only requests of trusted clients that have checked their images, or requests to the signature `aligned`,
# which decodes nothing.

# Images per batch. A request with more is refused.
max_batch_size { value: 32 }
# How long a request waits for others: not at all. Only requests that already wait for a thread are merged.
batch_timeout_micros { value: 0 }
# Batches that may wait; more are refused as unavailable, instead of queueing for ever.
max_enqueued_batches { value: 64 }
# Batches that run at a time; usually the number of cores.
num_batch_threads { value: 4 }
"""

_MONITORING = """\
# For tensorflow_model_server --monitoring_config_file=: metrics for Prometheus on the port of REST.
prometheus_config {
  enable: true
  path: "/monitoring/prometheus/metrics"
}
"""


def write_serving_config(
    folder: str | os.PathLike, saved_model: str | os.PathLike, root: str | os.PathLike | None = None
) -> None:
    """Writes `models.config`, `batching.config` and `monitoring.config` for TensorFlow Serving.

    Args:
      folder: folder to write to; made if absent.
      saved_model: folder of the export, NAME/VERSION. It is served as NAME.
      root: the folder of NAME as the server sees it, such as `/models` in a container; None: where it is now.

    Raises:
      ValueError: the folder is not named so that TensorFlow Serving can find it.
    """
    folder = pathlib.Path(folder)
    name = served_name(saved_model)
    here = pathlib.Path(saved_model).resolve().parent
    # The server runs on Linux, whatever this machine is.
    names = {"name": name, "base_path": str(here) if root is None else posixpath.join(os.fspath(root), name)}
    escaped = {key: text_encoding.CEscape(value, True) for key, value in names.items()}
    files.write_atomically(folder / "models.config", _MODELS.format(**escaped).encode())
    files.write_atomically(folder / "batching.config", _BATCHING.encode())
    files.write_atomically(folder / "monitoring.config", _MONITORING.encode())


def served_name(saved_model: str | os.PathLike) -> str:
    """Returns the name under which an export NAME/VERSION is served.

    Raises:
      ValueError: VERSION is not a number, as TensorFlow Serving requires.
    """
    path = pathlib.Path(saved_model).resolve()
    if not (path.name.isascii() and path.name.isdecimal()):
        raise ValueError(f"TensorFlow Serving needs a version number as the last folder, got {str(saved_model)!r}.")
    return path.parent.name
