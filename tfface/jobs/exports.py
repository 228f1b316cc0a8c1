"""The export job: writes a trained model with its card in a format for serving, and checks it."""

import dataclasses
import inspect
import os
import pathlib
from typing import Any, Literal

from tfface import data, export, files
from tfface.config.build import load_encoder
from tfface.export import formats
from tfface.jobs.model_card import model_card
from tfface.jobs.provenance import images_sha256

_CALIBRATION_BATCHES, _CALIBRATION_BATCH_SIZE = 8, 16


@dataclasses.dataclass(frozen=True)
class ExportResult:
    """Result of an export job.

    Attributes:
      path: path of the export.
      card: dict, its model card.
      agreement: `Agreement` of its embeddings with those of its network.
      notes: list of str, each something that was left out, and why.
    """

    path: pathlib.Path
    card: dict[str, Any] = dataclasses.field(repr=False)
    agreement: export.Agreement
    notes: list[str]


def export_model(
    model: str | os.PathLike,
    output: str | os.PathLike,
    *,
    flip: bool = False,
    far: float = 1e-3,
    protocol: str | None = None,
    results: str | os.PathLike | None = None,
    quantize: Literal["float16", "int8"] | None = None,
    calibration: str | os.PathLike | None = None,
    serving_config: str | os.PathLike | None = None,
    serving_root: str | None = None,
    layout: Literal["nhwc", "nchw"] = "nhwc",
) -> ExportResult:
    """Exports a trained model with its card; a fresh process first checks that it gives the model's embeddings.

    Args:
      model: run folder or `.keras` file.
      output: path to make; its name tells the format: a file with one of the suffixes of `tfface.export.formats.FILES`,
        such as NAME.tflite, or else SavedModel folder, such as NAME/1. A file is replaced, a folder must not exist. It
        appears under its name only after the check.
      flip: bool, whether to add the embedding of the flipped image.
      far: float in (0, 1], the FAR whose threshold the signature `compare` uses. Without that threshold in the
        verification of the model, the export has none, and its card says why.
      protocol: str, name of the result whose threshold is used; None: the first.
      results: `results.json` of `tfface evaluate` for the model or an export of it; default: that of the run.
      quantize: precision of a `.tflite` file: None, "float16" or "int8".
      calibration: for "int8", records (dataset folder or glob) of faces like those that will be embedded.
      serving_config: folder for the configuration files of TensorFlow Serving, or None.
      serving_root: the folder above NAME as the server sees it, such as "/models" in a container; None: its place here.
      layout: of the images that a `.onnx` file takes: "nhwc", or "nchw" for runtimes that want the channels first.

    Returns:
      `ExportResult`.

    Raises:
      ValueError: the arguments contradict each other, the model cannot be exported, or the export failed its check.
      OSError: a file cannot be read or written.
    """
    output = pathlib.Path(output)
    kind = output.suffix if output.suffix in formats.FILES else "SavedModel"
    _check_arguments(output, kind, quantize, calibration, serving_config, serving_root, layout)
    encoder = load_encoder(model)
    card = model_card(model, encoder, flip=flip, far=far, protocol=protocol, results=results)
    card["export"] = {"format": kind, "quantize": quantize or "none"}
    if "layout" in _options(kind):
        card["export"]["layout"] = layout
    if card["verification"] and (verified := card["verification"]["quantize"]) != (quantize or "none"):
        network = f"quantized to {verified}" if verified != "none" else f"before its quantization to {quantize}"
        card["notes"].append(f"Accuracy and thresholds are those of the network {network}.")
    if calibration is not None:
        card["export"]["calibration"] = {"records": str(calibration), "sha256": images_sha256(calibration)}
    output.parent.mkdir(parents=True, exist_ok=True)
    with files.temporary_folder(beside=output) as staging:
        unfinished = staging / output.name
        _write(encoder, unfinished, kind, card, quantize, calibration, layout)
        try:
            agreement = export.check_export(unfinished, encoder, flip=flip, quantize=quantize)
        except ValueError as error:
            raise ValueError(f"{output} was not written: {error}") from None
        # The card moves first, so that the export never stands without it.
        for made in sorted(staging.iterdir(), key=lambda path: path.name == output.name):
            os.replace(made, output.parent / made.name)
    if serving_config is not None:
        export.write_serving_config(serving_config, output, serving_root)
    notes = list(card["notes"])
    if kind == "SavedModel" and not (output / export.WARMUP_FILE).is_file():
        notes.append("No warm-up requests: the package tensorflow-serving-api is not installed.")
    return ExportResult(output, card, agreement, notes)


def _check_arguments(output, kind, quantize, calibration, serving_config, serving_root, layout):
    if output.is_dir() or kind == "SavedModel" and output.exists():
        raise ValueError(f"cannot export to {str(output)!r}: the path exists already.")
    if quantize not in (None, "float16", "int8"):
        raise ValueError(f"quantize must be None, 'float16' or 'int8', got {quantize!r}.")
    if layout not in ("nhwc", "nchw"):
        raise ValueError(f"layout must be 'nhwc' or 'nchw', got {layout!r}.")
    for name, value in (("quantize", quantize), ("layout", None if layout == "nhwc" else layout)):
        if value and name not in _options(kind):
            takers = " and ".join(suffix for suffix in formats.FILES if name in _options(suffix))
            raise ValueError(f"{name} {value!r} is for {takers} files, got {str(output)!r}.")
    if (quantize == "int8") != (calibration is not None):
        if quantize == "int8":
            raise ValueError("int8 needs calibration: records of faces like those to be embedded (--calibration).")
        raise ValueError(f"calibration belongs to --quantize=int8, got {calibration!r} with {quantize or 'none'!r}.")
    if serving_config is not None:
        if kind != "SavedModel":
            raise ValueError(f"TensorFlow Serving serves SavedModels, got {str(output)!r}.")
        export.served_name(output)
    elif serving_root is not None:
        raise ValueError(f"serving_root {serving_root!r} belongs to --serving_config, which is not given.")


def _write(encoder, path, kind, card, quantize, calibration, layout):
    if kind == "SavedModel":
        threshold = card["threshold"] and card["threshold"]["value"]
        export.saved_model(encoder, path, flip=card["flip"], threshold=threshold, card=card)
        return
    network = export.with_mirror(encoder) if card["flip"] else encoder
    options = {
        "quantize": quantize,
        "calibration": _batches(calibration, encoder.input_shape[1:3]),
        "layout": layout,
    }
    taken = _options(kind)
    formats.writer(kind)(network, path, **{name: value for name, value in options.items() if name in taken})
    export.write_card(card, path)


def _options(kind):
    """Names of the arguments that the writer of a format takes."""
    return inspect.signature(formats.writer(kind)).parameters if kind in formats.FILES else {}


def _batches(calibration, image_size):
    if calibration is None:
        return None
    records = data.open_records(calibration)
    dataset = data.eval_dataset(records, _CALIBRATION_BATCH_SIZE, image_size).take(_CALIBRATION_BATCHES)
    with data.naming_bad_records(records):
        return [batch["image"].numpy() for batch in dataset]
