"""Small data in the place of a paper's: Omniglot, CFP, any folder or zip of images, or rendered faces."""

import collections
import dataclasses
import hashlib
import os
import pathlib
import re
import zipfile

from tfface import files, flagfiles
from tfface.config import specs, train_config
from tfface.config.specs import Spec

STEPS = 600
_HELDOUT = 100  # People at most, of those a fifth.
_IMAGES = (".png", ".jpg", ".jpeg")
_OMNIGLOT = "images_background"
_PAPER_CLASSES = 8631  # Those of VGGFace2, for which SphereFace2's balance is given.
_SHUFFLED = re.compile(r"tfface records relabel --input=(\S+) --output=(\S+) --shuffle=([\d.]+)")


@dataclasses.dataclass(frozen=True)
class SmallSet:
    """Images that stand for a paper's training and test data.

    Attributes:
      about: what it is, in words.
      classes: number of people to train on.
      train, heldout: paths of records; train is "synthetic" for rendered faces.
      prepare: arguments of `tfface` that make the records; empty if they are there.
      flags: flags of training that belong to it.
      content: hash of what it is made of: of an archive, or of the names and sizes in a folder.
    """

    about: str
    classes: int
    train: str
    heldout: str
    prepare: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    content: str = ""


def open_small_set(path: str, folder: pathlib.Path) -> SmallSet:
    """Looks what a path holds.

    Args:
      path: zip archive or folder of images, where the last folders name the people; a folder with the datasets `train`
        and `heldout`; CFP in its official layout; or "synthetic".
      folder: where records are made.

    Raises:
      ValueError: it holds none of these, or fewer than 20 people.
      OSError: it cannot be read.
    """
    if path == "synthetic":
        people = train_config.TrainConfig.synthetic_identities
        return SmallSet(f"{people} rendered people, others with each seed", people, "synthetic", "")
    source = pathlib.Path(path)
    if not source.exists():
        raise ValueError(
            f"{path} does not exist: --data names a zip archive or folder of images, root/person/image.jpg, "
            "a folder with the datasets train and heldout, CFP's folder, or is 'synthetic'."
        )
    if (source / "train" / "dataset.json").is_file() and (source / "heldout" / "dataset.json").is_file():
        return _of_records(source)
    train, heldout = str(folder / "train"), str(folder / "heldout")
    images = source / "Data" / "Images" if (source / "Protocol" / "Split").is_dir() else source
    root, depth, people = _people_in_zip(source) if source.is_file() else ("", 1, _people_in_folder(images))
    if len(people) < 20:
        raise ValueError(f"{path} has images of {len(people)} people; a small reproduction needs 20.")
    held = min(_HELDOUT, len(people) // 5)
    given = [f"--root={root}"] * bool(root) + [f"--depth={depth}"] * (depth > 1)
    program = "from-zip" if source.is_file() else "from-folder"
    prepare = ("records", program, f"--input={images}", *given, f"--output={folder}")
    name, flags = source.name, []
    if images != source:
        name = "CFP"
        flags = [f"--protocol={source}/Protocol/Split/{split}" for split in ("FF", "FP")] + ["--allow_missing"]
    elif root == _OMNIGLOT:
        name, flags = "Omniglot", ["--nomirror"]  # A mirrored character is another one.
    return SmallSet(
        f"{name}: {sum(people.values())} images of {len(people)} classes; the last {held} by name are held out",
        len(people) - held,
        train,
        heldout,
        (*prepare, f"--holdout_identities={held}", "--holdout_from=last"),
        tuple(flags),
        files.sha256(source) if source.is_file() else _listing_sha256(images),
    )


def shuffled_copies(flagfile: str) -> dict[str, float]:
    """Returns the records that the comment of a flagfile makes by shuffling labels: {path: share of the labels}."""
    text = "\n".join(flagfiles.read_lines(flagfiles.packaged()[flagfile]))
    return {output: float(share) for _, output, share in _SHUFFLED.findall(text)}


def small_flags(settings: train_config.TrainConfig, small: SmallSet, steps: int) -> list[str]:
    """Returns the flags that make a training of a paper a small one; what it compares stays as it is.

    Args:
      settings: those of the paper.
      small: its data.
      steps: of the small training.
    """
    given = [
        f"--train_data={small.train}",
        *([f"--heldout_data={small.heldout}"] if small.heldout else []),
        *small.flags,
        "--backbone=MobileFaceNet(width=0.25)",
        "--image_size=56",
        f"--embedding_dim={min(128, settings.embedding_dim)}",
        *shortened(settings, steps),
        "--strategy=none",
        "--replicas=0",
        "--partition=none",
        "--heldout_pairs=6000",
        "--log_every=10",
        "--save_every=100",
        f"--verify_every={max(1, steps // 5)}",
    ]
    given += ["--batches=PK(identities=16, images=4)"] if settings.batches else ["--batch_size=64"]
    if settings.init_from:  # A thousandth of the steps cannot begin with the paper's network.
        given += ["--init_from=", "--learning_rate=0.1"]
    if settings.sampler:
        given.append("--rebuild_every=50")
    head = specs.parse(settings.head) if settings.head != train_config.NO_HEAD else Spec("")
    if head.name == "SphereFace2" and head.arguments.get("radius") == 1:
        # No logit saturates there: the share of the positives must follow the number of classes, as (K - 1) / K does.
        balance = 1 - (1 - head.arguments["balance"]) * _PAPER_CLASSES / small.classes
        given.append(f"--head={dataclasses.replace(head, arguments={**head.arguments, 'balance': round(balance, 5)})}")
    return given


def shortened(settings: train_config.TrainConfig, steps: int) -> list[str]:
    """Returns the flags of a training with other steps, whose learning rate falls at the same shares of it."""
    schedule = specs.parse(settings.schedule)
    if settings.steps and "steps" in schedule.arguments:
        ends = [round(end * steps / settings.steps) for end in schedule.arguments["steps"]]
        schedule = Spec(schedule.name, None, {**schedule.arguments, "steps": ends})
    return [f"--steps={steps}", f"--schedule={schedule}"]


def _of_records(folder):
    from tfface.data.dataset_content import DatasetContent

    train, heldout = (DatasetContent.load(folder / name) for name in ("train", "heldout"))
    classes, others = len(train.identities), len(heldout.identities)
    return SmallSet(
        f"{folder.name}: {classes} people, and {others} others held out",
        classes,
        str(folder / "train"),
        str(folder / "heldout"),
        content=f"{train.shards} {heldout.shards}",
    )


def _people_in_folder(folder):
    """Counts the images of each person in a folder."""
    return collections.Counter(
        path.relative_to(folder).parts[0]
        for path in folder.rglob("*")
        if path.suffix.lower() in _IMAGES and len(path.relative_to(folder).parts) > 1
    )


def _listing_sha256(folder):
    """Hashes the names and sizes of the images in a folder."""
    images = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _IMAGES)
    lines = [f"{path.relative_to(folder).as_posix()} {path.stat().st_size}\n" for path in images]
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _people_in_zip(path):
    """Returns (the one folder that holds all images, how many folders name a person, Counter of images by person)."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if os.path.splitext(name)[1].lower() in _IMAGES]
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path}: not a zip archive ({error}).") from None
    folders = [pathlib.PurePosixPath(name).parts[:-1] for name in names if not name.startswith("__MACOSX/")]
    tops = {parts[:1] for parts in folders}
    root = folders[0][0] if len(tops) == 1 and all(len(parts) > 1 for parts in folders) else ""
    people = collections.Counter("/".join(parts[bool(root) :]) for parts in folders if len(parts) > bool(root))
    return root, max((person.count("/") + 1 for person in people), default=1), people
