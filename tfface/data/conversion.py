"""Conversion of a folder of face images to a dataset of TFRecords, all or nothing."""

import contextlib
import dataclasses
import functools
import hashlib
import pathlib

from tfface.data.folders import EXTENSIONS, Listing, check_images, find_images
from tfface.data.landmarks import read_landmarks
from tfface.data.records import DATASET_FILE
from tfface.data.writer import check_output, stage_dataset


@dataclasses.dataclass(frozen=True)
class Conversion:
    """What `convert_folder` did.

    Args:
      datasets: dict from directory to the `DatasetInfo` written there; with a holdout `train` comes before `heldout`.
      skipped: (relative path, reason) of everything left out as bad.
      listing: the `Listing` of the input.
    """

    datasets: dict
    skipped: list
    listing: Listing


def split_identities(identities, holdout, *, order="hash", seed=0):
    """Chooses identities to hold out of training.

    Args:
      identities: names of the identities.
      holdout: number of identities to hold out.
      order: "hash" takes those with the smallest hash of seed and name, a choice that the alphabet (and with it
        language, sex or the date of the photograph) does not bias; "last" takes the last by name.
      seed: int, another one makes "hash" choose others.

    Returns:
      Set of the names held out.

    Raises:
      ValueError: if fewer than two identities would remain on either side, or `order` is unknown.
    """
    if order not in ("hash", "last"):
        raise ValueError(f"`order` must be 'hash' or 'last', got {order!r}.")
    names = sorted(set(identities))
    if not 2 <= holdout <= len(names) - 2:
        raise ValueError(
            f"cannot hold out {holdout} of {len(names)} identities: training and held-out set need two each, "
            "for without a second person there is nothing to tell apart."
        )
    if order == "hash":
        names.sort(key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest(), reverse=True)
    return set(names[-holdout:])


def convert_folder(
    input_dir,
    output_dir,
    *,
    name=None,
    num_shards=None,
    workers=None,
    holdout_identities=0,
    holdout_from="hash",
    holdout_seed=0,
    landmarks=None,
    skip_bad=False,
    overwrite=False,
    progress=False,
):
    """Converts a folder `root/identity/.../image.jpg` to a dataset, or to two that share no identity.

    Every image is decoded to check it. Labels are numbered from 0 in each dataset, by the sorted names of its
    identities.

    Args:
      input_dir: the root; the identity of an image is the first part of its path below the root.
      output_dir: directory of the dataset; with a holdout the datasets are in its `train` and `heldout`.
      name: name of the dataset; default: the last part of `output_dir`.
      num_shards: shards of each dataset; default: about 100 MB a shard.
      workers: number of threads; default: the number of processors.
      holdout_identities: number of identities held out; 0 for none.
      holdout_from, holdout_seed: `order` and `seed` of `split_identities`.
      landmarks: CSV file for `read_landmarks`; default: `landmarks.csv` in the root if there is one.
      skip_bad: whether bad images are left out and listed in `output_dir/skipped.txt` instead of raising.
      overwrite: whether datasets of this name are replaced.
      progress: whether progress bars are shown on stderr.

    Returns:
      A `Conversion`.

    Raises:
      ValueError: for a bad image or identity folder without `skip_bad`, fewer than two identities, a holdout that
        leaves fewer than two on a side, a bad table of landmarks, or an output that exists.
      OSError: if a folder or file cannot be read or written. Whatever is raised, no dataset has been published.
    """
    root, output = pathlib.Path(input_dir), pathlib.Path(output_dir)
    name = name or output.resolve().name
    targets = [output / "train", output / "heldout"] if holdout_identities else [output]
    if output.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"output {output} lies inside the input {root}: choose a place outside.")
    for target in targets:
        check_output(target, name, overwrite)
    for other in {output, output / "train", output / "heldout"} - set(targets):
        if (other / DATASET_FILE).exists():
            raise ValueError(f"{other / DATASET_FILE} is of a conversion with another holdout: choose another output.")

    listing = find_images(root)
    if not listing.keys and not listing.unreadable:
        hint = f"; {listing.links} symbolic links are not followed" if listing.links else ""
        raise ValueError(f"{root} holds no images ({', '.join(EXTENSIONS)}{hint}).")
    images, skipped = check_images(root, listing, skip_bad=skip_bad, workers=workers, progress=progress)
    identities = {image.identity for image in images}
    if len(identities) < 2:
        raise ValueError(
            f"{root} has good images of {len(identities)} identities, at least 2 are needed; each needs its own folder."
        )
    images = _add_landmarks(images, root, landmarks)

    held_out = set()
    if holdout_identities:
        held_out = split_identities(identities, holdout_identities, order=holdout_from, seed=holdout_seed)
    parts = [[image for image in images if image.identity not in held_out]]
    if held_out:
        parts.append([image for image in images if image.identity in held_out])

    stage = functools.partial(
        stage_dataset, num_shards=num_shards, workers=workers, overwrite=overwrite, progress=progress
    )
    with contextlib.ExitStack() as stack:
        publish = [
            stack.enter_context(stage(target, name, part, lambda image: (root / image.key).read_bytes()))
            for target, part in zip(targets, parts, strict=True)
        ]
        report = output / "skipped.txt"
        report.unlink(missing_ok=True)
        if skipped:
            report.write_text("".join(f"{key}: {reason}\n" for key, reason in skipped), encoding="utf-8")
        datasets = {str(target): put() for target, put in zip(targets, publish, strict=True)}
    return Conversion(datasets, skipped, listing)


def _add_landmarks(images, root, path):
    if path is None:
        path = root / "landmarks.csv"
        if not path.exists():
            return images
    table = read_landmarks(path)
    if not any(image.key in table for image in images):
        raise ValueError(f"{path} has landmarks of none of the images; its paths must be relative to {root}.")
    return [dataclasses.replace(image, landmarks=table.get(image.key)) for image in images]
