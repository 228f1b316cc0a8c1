"""The format of run folders, in the first line of `flags.txt`; flags of earlier formats are brought forward."""

import os
import re
from collections.abc import Callable

from tfface.config.specs import Spec
from tfface.flagfiles import flags_of

# The format of the whole folder: flags, identities and checkpoints. Release 0.1 wrote no number: its format is 0.
FORMAT = 3

# Flags of earlier releases, and what takes their place.
REPLACED = {
    "scale": "an argument of the head: --head=ArcFace(scale=64)",
    "margin": "an argument of the head: --head=ArcFace(margin=0.5)",
    "sampling_rate": "an argument of the head: --head=RandArcFace(sampling_rate=0.1)",
    "broadface_queue": "a head that wraps another: --head=BroadFace(ArcFace, queue_size=8192)",
    "broadface_compensate": "an argument of BroadFace: --head=BroadFace(ArcFace, compensate=False)",
    "width": "an argument of the backbone: --backbone=MobileFaceNet(width=0.5)",
    "momentum": "an argument of the optimizer: --optimizer=SGD(momentum=0.9)",
    "decay_form": "an argument of the optimizer: --optimizer=SGD(decay_form='coupled')",
    "decay_epochs": "an argument of the schedule: --schedule=Steps(epochs=[8, 14])",
    "shuffle_buffer": "an argument of the shuffle: --shuffle=Buffer(size=10000)",
}
_CALLED = REPLACED.keys() - {"shuffle_buffer"}  # Those of format 1.


def _calls(flags):
    """Format 1 to 2: arguments of components, flags before, are written in calls.

    A flagfile of a user bears no number; one that has none of the earlier flags stays as it is.
    """
    given: dict[str, str] = {}
    kept = []
    for flag in flags:
        name, _, value = flag.removeprefix("--").partition("=")
        if name == "augment":
            kept += [f"--augment={_augmentation(each)}" for each in value.split(",") if each]
        elif name in _CALLED or name in ("head", "backbone", "optimizer", "schedule"):
            given[name] = value
        elif name.removeprefix("no") != "broadface_compensate":
            kept.append(flag)

    if not given.keys() & _CALLED and not any(given.get(name, "A")[:1].islower() for name in ("optimizer", "schedule")):
        return flags

    def call(name, **arguments):
        if not name.isidentifier():
            raise ValueError(f"{name} stands beside flags that it replaces")
        return Spec(name, None, {key: value for key, value in arguments.items() if value is not None})

    def number(name):
        return float(given[name]) if name in given else None

    backbone = call(given.get("backbone", "MobileFaceNet"))
    if backbone.name == "MobileFaceNet":
        backbone = call("MobileFaceNet", width=number("width"))
    head = call(
        given.get("head", "ArcFace"),
        **{name: number(name) for name in ("scale", "margin", "sampling_rate")},
    )
    if queue := int(given.get("broadface_queue", 0)):
        compensate = "--nobroadface_compensate" not in flags and given.get("broadface_compensate") != "false"
        head = Spec("BroadFace", head, {"queue_size": queue, "compensate": compensate})
    # The defaults are those of format 1.
    momentum, form = float(given.get("momentum", 0.9)), given.get("decay_form", "decoupled")
    optimizer = {
        "sgd": call("SGD", momentum=momentum, decay_form=form),
        "adamw": call("AdamW"),
        "lamb": call("LAMB"),
    }[given.get("optimizer", "sgd")]
    schedule = call(given.get("schedule", "cosine").capitalize())
    if schedule.name == "Steps":
        schedule = call("Steps", epochs=[float(each) for each in given.get("decay_epochs", "").split(",") if each])
    return [f"--backbone={backbone}", f"--head={head}", f"--optimizer={optimizer}", f"--schedule={schedule}", *kept]


def _shuffle(flags):
    """Format 2 to 3: a run with a shuffle buffer keeps it, although there are other shuffles now."""
    old = "--shuffle_buffer="
    return [f"--shuffle=Buffer(size={flag.removeprefix(old)})" if flag.startswith(old) else flag for flag in flags]


def _augmentation(text):
    name, _, probability = text.partition(":")
    name = "".join(part.capitalize() for part in name.split("_"))
    return Spec(name, None, {"probability": float(probability)} if probability else {})


# Number n: function that turns the flags of format n, a list of str such as "--epochs=20.0", into those of format
# n + 1. A format that changed no flag, such as 0, has none.
MIGRATIONS: dict[int, Callable[[list[str]], list[str]]] = {1: _calls, 2: _shuffle}

_HEADER = re.compile(r"# tfface run, format (\d{1,9})\b.*")


def header() -> str:
    """Returns the first line of the flags of a run, a comment in a flagfile."""
    return f"# tfface run, format {FORMAT}"


def upgrade(lines: list[str], path: str | os.PathLike) -> list[str]:
    """Brings the flags of a run to the current format; other flagfiles have no such first line and stay as they are.

    Args:
      lines: list of str, all lines of the file.
      path: of the file, for the error.

    Returns:
      list of str, one flag each, without comments and empty lines.

    Raises:
      ValueError: a later release wrote the file.
    """
    found = _HEADER.fullmatch(lines[0].strip()) if lines else None
    number = int(found[1]) if found else 0
    if number > FORMAT:
        raise ValueError(
            f"{path}: a run of format {number}, of a later release of tfface; this one reads formats up to {FORMAT}."
        )
    flags = flags_of(lines)
    try:
        for step in range(number, FORMAT):
            flags = MIGRATIONS.get(step, list)(flags)
    except (ValueError, KeyError) as error:
        raise ValueError(f"{path}: a flag of an earlier release cannot be read: {error}.") from None
    return flags
