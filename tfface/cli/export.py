"""Exports a trained encoder for serving: a SavedModel, or a file of TensorFlow Lite or ONNX, by the name of --output.

Examples:
  python scripts/export.py --model=runs/quickstart --output=exported/quickstart/1 --serving_config=exported
  python scripts/export.py --model=runs/quickstart --output=face.tflite --quantize=int8 --calibration=records/photos
  python scripts/export.py --model=runs/quickstart --output=face.onnx --flip

Before it appears under its name, an export is loaded in a process of its own and must give the model's embeddings.
"""

from absl import flags

from tfface.cli import program

_MODEL = flags.DEFINE_string("model", None, "Run folder of scripts/train.py, or .keras file.", required=True)
_OUTPUT = flags.DEFINE_string(
    "output", None, "What to make: NAME.tflite, NAME.onnx, or a SavedModel folder such as NAME/1.", required=True
)
_FLIP = flags.DEFINE_bool("flip", False, "Add the embedding of the mirrored image.")
_FAR = flags.DEFINE_float("far", 1e-3, "FAR at whose threshold the signature `compare` decides.", 0.0, 1.0)
_PROTOCOL = flags.DEFINE_string("protocol", None, "Result of which that threshold is taken. Default: the first.")
_RESULTS = flags.DEFINE_string(
    "results", None, "results.json of scripts/evaluate.py, of this model. Default: that of the run."
)
_QUANTIZE = flags.DEFINE_enum("quantize", "none", ["none", "float16", "int8"], "Precision of a .tflite file.")
_CALIBRATION = flags.DEFINE_string(
    "calibration", None, "Records of faces like those to be embedded, for --quantize=int8: dataset folder or glob."
)
_SERVING_CONFIG = flags.DEFINE_string(
    "serving_config", None, "Folder for TensorFlow Serving's models.config and batching.config."
)


def main():
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
    if _SERVING_CONFIG.value:
        print(f"Next: tensorflow_model_server --model_config_file={_SERVING_CONFIG.value}/models.config")
    else:
        print(f"Next: python scripts/embed.py --model={result.path} --data=photos --output=photos.npz")


if __name__ == "__main__":
    program.run(main)
