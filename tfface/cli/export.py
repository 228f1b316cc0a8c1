"""Exports a trained encoder for serving: as a SavedModel, TensorFlow Lite or ONNX. The name of --output selects which.

Examples:
  tfface export --model=runs/quickstart --output=exported/quickstart/1 --serving_config=exported
  tfface export --model=runs/quickstart --output=face.tflite --quantize=int8 --calibration=records/photos
  tfface export --model=runs/quickstart --output=face.onnx --flip

An export appears under its name only after a separate process has loaded it and got the embeddings of the model.
"""

from absl import flags

from tfface.cli import program

_MODEL = flags.DEFINE_string("model", None, "Run folder of tfface train, or .keras file.", required=True)
_OUTPUT = flags.DEFINE_string(
    "output",
    None,
    "Path to make: a file whose suffix names the format, such as NAME.tflite or NAME.onnx, or a SavedModel folder such "
    "as NAME/1.",
    required=True,
)
_FLIP = flags.DEFINE_bool("flip", False, "Add the embedding of the flipped image.")
_FAR = flags.DEFINE_float("far", 1e-3, "FAR whose threshold the signature `compare` uses.", 0.0, 1.0)
_PROTOCOL = flags.DEFINE_string("protocol", None, "Name of the result whose threshold is used. Default: the first.")
_RESULTS = flags.DEFINE_string(
    "results",
    None,
    "results.json of tfface evaluate for this model or an export of it. Default: that of the run.",
)
_QUANTIZE = flags.DEFINE_enum("quantize", "none", ["none", "float16", "int8"], "Precision of a .tflite file.")
_LAYOUT = flags.DEFINE_enum(
    "layout", "nhwc", ["nhwc", "nchw"], "Layout of the images that a .onnx file takes; nchw has the channels first."
)
_CALIBRATION = flags.DEFINE_string(
    "calibration", None, "For --quantize=int8: records (dataset folder or glob) of faces like those to be embedded."
)
_SERVING_CONFIG = flags.DEFINE_string(
    "serving_config",
    None,
    "Folder to write TensorFlow Serving's models.config, batching.config and monitoring.config to.",
)
_SERVING_ROOT = flags.DEFINE_string(
    "serving_root",
    None,
    "For --serving_config: the folder above NAME as the server sees it, such as /models in a container. Default: its "
    "place on this machine.",
)


def main() -> None:
    # Imported here, so that --help and wrong flags answer at once.
    from tfface import jobs

    result = jobs.export_model(
        _MODEL.value,
        _OUTPUT.value,
        flip=_FLIP.value,
        far=_FAR.value,
        protocol=_PROTOCOL.value,
        results=_RESULTS.value,
        quantize=None if _QUANTIZE.value == "none" else _QUANTIZE.value,
        calibration=_CALIBRATION.value,
        serving_config=_SERVING_CONFIG.value,
        serving_root=_SERVING_ROOT.value,
        layout=_LAYOUT.value,
    )
    found, threshold = result.agreement, result.card["threshold"]
    print(f"Wrote {result.path}")
    print(
        f"  in a fresh process, embeddings of {found.images} faces differ by up to {found.largest_difference:.1e} from "
        f"those of the model; smallest cosine {found.smallest_cosine:.6f}"
    )
    if threshold:
        print(f"  threshold {threshold['value']:.4f} at FAR {threshold['far']:g} of {threshold['protocol']}")
    for note in result.notes:
        print(f"  {note}")
    if _SERVING_CONFIG.value and not _SERVING_ROOT.value:
        print(f"Next: tensorflow_model_server --model_config_file={_SERVING_CONFIG.value}/models.config")
    else:
        print(f"Next: tfface embed --model={result.path} --data=photos --output=photos.npz")


if __name__ == "__main__":
    program.run(main)
