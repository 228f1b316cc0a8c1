"""The model card of an export, gathered from the files of its model."""

import math
import os
import pathlib
import subprocess
from typing import Any

import keras

import tfface
from tfface import data
from tfface.config import train_flags
from tfface.config.build import build_head
from tfface.evaluation.metrics.verification import allowed_impostors
from tfface.evaluation.reports.tables import read_results
from tfface.jobs import provenance
from tfface.json_files import Either, Optional
from tfface.training import keras_files
from tfface.training.checkpoints.saving import checkpoint_step, latest_checkpoint
from tfface.training.checkpoints.warm_start import read_identities

RESULTS_FILE = "results.json"
_CONTEXT = {
    "images": object,
    "images_sha256": object,
    "protocol": object,
    "flip": Either(bool, str),
    "model_sha256": Either(None, str),
    # Of an evaluation of an export: its network, and its precision.
    Optional("export"): {"network_sha256": str, "quantize": str, ...: object},
    ...: object,
}

# Entries of a head's configuration that say nothing about the loss.
_LAYER = {"name", "trainable", "dtype", "class_weights_initializer", "jit_compile", "chunk_size", "partition"}


def model_card(
    model: str | os.PathLike,
    encoder: keras.Model,
    *,
    flip: bool = False,
    far: float = 1e-3,
    protocol: str | None = None,
    results: str | os.PathLike | None = None,
) -> dict[str, Any]:
    """Gathers the card of a model's export; equal files give equal cards.

    Values come from files of the model; unknown ones are None. Results of a verification count only if they were
    measured with these very weights, and their thresholds only if they were measured with the same `flip`.

    Args:
      model: run folder or `.keras` file.
      encoder: keras.Model, loaded from it.
      flip: bool, whether the export adds the embedding of the flipped image.
      far: float in (0, 1], the FAR whose threshold is chosen.
      protocol: str, name of the result that the threshold comes from; None: the first.
      results: `results.json` of `tfface evaluate`; default: that of the run, where there is one.

    Returns:
      dict of JSON values. `threshold` is None, or a dict with `value`, `far` and `protocol`; `notes` is a list of str,
      each of which says what was left out, and why.

    Raises:
      ValueError: `far` is outside (0, 1], or `results` belong to another model or have no such protocol.
      OSError: a file cannot be read.
    """
    if not 0 < far <= 1:
        raise ValueError(f"a FAR must be in (0, 1], got {far}.")
    model = pathlib.Path(model)
    known = _of_run(model) if (model / train_flags.FLAGFILE).is_file() else _of_keras_file(model)
    sha256 = provenance.model_sha256(model)
    verification, curves, missing = _verification(model, sha256, results)
    threshold, reason = (None, missing) if missing else _threshold(verification, curves, flip, far, protocol)
    (_, height, width, _), (_, dim) = encoder.input_shape, encoder.output_shape
    network = {"image_size": [height, width], "embedding_dim": dim, "parameters": encoder.count_params()}
    return {
        "name": model.resolve().name,
        "sha256": sha256,
        "tfface": tfface.__version__,
        "git_commit": _git_commit(),
        "flip": flip,
        "threshold": threshold,
        "notes": [*([reason] if reason else []), *(_missing_pairs(verification) if verification else [])],
        "verification": verification,
        "data": known.pop("data", None),
        "network": {"backbone": known.pop("backbone", None), **network},
        "head": known.pop("head", None),
        "training": known or None,
    }


def _of_run(run_dir):
    settings = train_flags.read_flagfile(run_dir / train_flags.FLAGFILE)
    identities = read_identities(run_dir)
    return {
        "data": _training_data(settings, run_dir, identities),
        "backbone": settings.backbone,
        "head": _plain(keras.saving.serialize_keras_object(build_head(settings, len(identities)))),
        "steps": checkpoint_step(latest_checkpoint(run_dir / "checkpoints")),
        "flags": (run_dir / train_flags.FLAGFILE).read_text(encoding="utf-8"),
    }


def _of_keras_file(path):
    """Returns the head as an entry of the card if the file holds a `FaceModel`, else nothing."""
    saved = keras_files.read_config(path)
    head = saved["config"].get("head") if saved["class_name"] == "FaceModel" else None
    return {"head": _plain(head)} if head else {}


def _training_data(settings, run_dir, identities):
    """Describes the training records; None if they are gone or now hold other identities."""
    location = run_dir / "records" / "train" if settings.train_data == "synthetic" else settings.train_data
    try:
        info, sha256 = data.DatasetInfo.load(location), provenance.images_sha256(location)
    except (ValueError, OSError):
        return None
    if list(info.label_map) != identities:
        return None
    return {"name": info.name, "images": info.images, "identities": info.identities, "sha256": sha256}


def _plain(value):
    """Returns a serialized Keras object as {"class": name, setting: value}, without settings that are None."""
    if isinstance(value, dict) and "class_name" in value:
        settings = {key: _plain(each) for key, each in value["config"].items() if key not in _LAYER}
        return {"class": value["class_name"], **{key: each for key, each in settings.items() if each is not None}}
    return value


def _verification(model, sha256, path):
    """Returns (content of `results.json`, its ROCs by protocol, None), or (None, {}, the reason why there is none)."""
    given = path is not None
    path = pathlib.Path(path) if given else model / RESULTS_FILE
    if not given and not path.is_file():
        return None, {}, f"No threshold: there is no {RESULTS_FILE}, so the model was not verified."
    document = read_results(path, _CONTEXT)
    context = document["context"]
    verification = {
        "images": context["images"],
        "images_sha256": context["images_sha256"],
        "pair_lists": context["protocol"],
        "flip": bool(context["flip"]),
        "quantize": context.get("export", {}).get("quantize", "none"),
        "results": [_result(result) for result in document["results"]],
        "thresholds": [
            {"protocol": result["name"], **{key: point[key] for key in ("far", "threshold", "tar", "measured_far")}}
            for result in document["results"]
            for point in result["tar_at_far"]
        ],
    }
    if sha256 not in (context["model_sha256"], context.get("export", {}).get("network_sha256")):
        if given:
            raise ValueError(f"{path} holds results of another model, or of other weights of {str(model)!r}.")
        reason = f"No threshold: {RESULTS_FILE} was measured with other weights than the newest checkpoint has."
        return None, {}, reason
    return verification, {result["name"]: result.get("roc") for result in document["results"]}, None


def _result(result):
    return {
        "protocol": result["name"],
        "genuine_pairs": result["genuine_pairs"],
        "impostor_pairs": result["impostor_pairs"],
        "missing_pairs": (result.get("completeness") or {}).get("missing"),
        "accuracy": result["accuracy"]["mean"],
        "accuracy_std": result["accuracy"]["std"],
        "auc": result["auc"],
        "eer": result["eer"],
    }


def _missing_pairs(verification):
    """Returns a note for each protocol that was not measured whole."""
    return [
        f"{result['protocol']}: {result['missing_pairs']} pairs of the list are missing; the results are those of the "
        "others."
        for result in verification["results"]
        if result["missing_pairs"]
    ]


def _threshold(verification, curves, flip, far, protocol):
    """Returns (threshold at a FAR, None), or (None, the reason why there is none)."""
    names = [result["protocol"] for result in verification["results"]]
    if protocol is not None and protocol not in names:
        raise ValueError(f"there is no result named {protocol!r}, only {names}.")
    if not names:
        return None, "No threshold: the results are not of pairs of images."
    if verification["flip"] != flip:
        modes = {True: "with the flipped image", False: "without the flipped image"}
        return None, f"No threshold: the export embeds {modes[flip]}, the model was verified {modes[not flip]}."
    name = names[0] if protocol is None else protocol
    points = [
        point for point in verification["thresholds"] if point["protocol"] == name and point["threshold"] is not None
    ]
    for point in points:
        if math.isclose(point["far"], far):
            return {"value": point["threshold"], "far": point["far"], "protocol": name}, None
    impostors = verification["results"][names.index(name)]["impostor_pairs"]
    allowed = allowed_impostors(far, impostors)
    if not allowed:
        least = math.ceil(1 / far)
        return None, f"No threshold: FAR {far:g} needs at least {least} impostor pairs, {name!r} has {impostors}."
    if (curve := curves[name]) is None:  # Of release 0.1.
        measured = ", ".join(f"{point['far']:g}" for point in points) or "none"
        return None, (
            f"No threshold: {name!r} has none for FAR {far:g}; it has those for FAR {measured}. "
            "tfface evaluate now measures the others too."
        )
    accepted = [
        threshold
        for measured, threshold in zip(curve["far"], curve["threshold"], strict=False)
        if round(measured * impostors) <= allowed and threshold is not None
    ]
    if not accepted:
        return None, f"No threshold: no pair of {name!r} is accepted at FAR {far:g}."
    return {"value": min(accepted), "far": far, "protocol": name}, None


def _git_commit():
    """Returns the commit of the checkout that this code runs from, with "+changes" if files differ, or None."""
    root = pathlib.Path(tfface.__file__).parents[1]
    try:
        # Without this .git folder, git would find a repository that merely encloses an installed package.
        commit = _git(root, "rev-parse", "HEAD") if (root / ".git").exists() else None
        return f"{commit}+changes" if commit and _git(root, "status", "--porcelain", "-uno") else commit
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(folder, *arguments):
    return subprocess.run(["git", "-C", folder, *arguments], check=True, capture_output=True, text=True).stdout.strip()
