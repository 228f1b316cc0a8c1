"""Conversion of any source of face images to TFRecord datasets: all or nothing, and resumable.

Every image is read once, checked and stored. If bad images turn up, the affected shards are written again without them,
so that the datasets are a function of the good images alone. Memory holds only the `Item`s, not the images.
"""

import contextlib
import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable, Generator
from typing import Any

from tfface import interrupts, ownership
from tfface.data.conversion.plan import digest, list_items, plan_shards, split_identities, split_images
from tfface.data.conversion.staging import Stage, check_output
from tfface.data.conversion.writer import ShardNote, read_note, write_shards
from tfface.data.formats.left_out import in_all
from tfface.data.formats.shard_names import MAX_SHARDS, folder_name
from tfface.data.records import DATASET_FILE, SCHEMA_VERSION, DatasetInfo, Shard
from tfface.data.sources.base import Source
from tfface.data.sources.folders import FolderSource
from tfface.files import write_atomically
from tfface.progress import bar as progress_bar


@dataclasses.dataclass(frozen=True, repr=False)
class Conversion:
    """The result of a conversion.

    Args:
      datasets: dict from directory to the `DatasetInfo` written there; with a holdout `train` comes before `heldout`.
      skipped: (place, reason) of every bad image that was left out.
      source: the `Source`.
    """

    datasets: dict[str, DatasetInfo]
    skipped: list[tuple[str, str]]
    source: Source

    def __repr__(self) -> str:
        """Returns one line that counts what was left out."""
        return f"Conversion({self.datasets}, {len(self.skipped)} skipped)"


def convert(
    source: Source,
    output_dir: str | os.PathLike,
    *,
    name: str | None = None,
    num_shards: int | None = None,
    workers: int | None = None,
    holdout_identities: int = 0,
    holdout_from: str = "hash",
    holdout_seed: int = 0,
    holdout_images: int = 0,
    labels_from: str | os.PathLike | None = None,
    skip_bad: bool = False,
    overwrite: bool = False,
    progress: bool = False,
    write: Callable[..., Generator[ShardNote, None, None]] | None = None,
) -> Conversion:
    """Converts a source to a dataset, or to two datasets that share no identity.

    Every image is decoded to check it. Labels are numbered from 0 in each dataset, by the sorted names of its
    identities, unless they are those of another dataset. The same good images give the same bytes, whatever their order
    and the number of workers. An interrupted conversion continues when it is called again with the same arguments, and
    gives the same bytes. Until then its work is in the hidden folder `.NAME.partial` of `output_dir`.

    Args:
      source: the `Source`.
      output_dir: directory of the dataset; with a holdout the datasets are in its `train`, `heldout` (other identities)
        and `validation` (other images of the identities and with the labels of `train`).
      name: name of the dataset, of letters, digits, `_`, `-` and `.`; default: the last part of `output_dir`.
      num_shards: shards per dataset, at most one per image; default: about 100 MB per shard.
      workers: number of threads; default: the number of processors.
      holdout_identities: number of identities held out; 0 for none.
      holdout_from: `order` of `split_identities`.
      holdout_seed: `seed` of `split_identities`.
      holdout_images: number of images of each identity of `train` to hold out, but never its last one; 0 for none.
      labels_from: dataset whose label map is used, so that a loss of the labels compares the same people. Images of
        other people count as bad.
      skip_bad: whether to leave bad images out and list them in `output_dir/skipped.txt` instead of raising.
      overwrite: whether to replace datasets of this name; they stay until the new ones are complete.
      progress: whether to show a progress bar on stderr.
      write: function that writes the shards, with the arguments and results of `write_shards`; default: `write_shards`
        with `workers`.

    Returns:
      A `Conversion`.

    Raises:
      ValueError: for a bad image without `skip_bad`, a key that occurs twice, fewer than two identities, a holdout that
        leaves fewer than two on a side, or an output that exists. Unfinished work is removed.
      OSError: if a file cannot be written. No dataset has been published; the next call continues.
    """
    if num_shards is not None and not 1 <= num_shards <= MAX_SHARDS:
        raise ValueError(f"`num_shards` must be in [1, {MAX_SHARDS}], got {num_shards}.")
    output = pathlib.Path(output_dir)
    name = name or folder_name(output)
    stage = Stage(output, name)
    held_out = {"heldout": holdout_identities, "validation": holdout_images}
    if labels_from is not None and any(held_out.values()):
        raise ValueError("labels_from takes the labels of an existing dataset: convert without a holdout.")
    label_map = None if labels_from is None else DatasetInfo.load(labels_from).label_map
    targets = [output / kind for kind, count in {"train": any(held_out.values()), **held_out}.items() if count]
    targets = targets or [output]
    if not stage.publishing:
        _check_outputs(output, targets, name, overwrite)

    items, skipped = list_items(source)
    items, strangers = _known_people(source, items, label_map, labels_from)
    skipped += strangers
    _refuse(source, skipped, skip_bad)
    holdout = (holdout_identities, holdout_from, holdout_seed, holdout_images)
    inputs = digest(items, SCHEMA_VERSION, source.fingerprint, num_shards, holdout, skip_bad, label_map)
    if not stage.holds(inputs):
        _check_outputs(output, targets, name, overwrite)
    write = write or functools.partial(write_shards, workers=workers)
    owner = ownership.owned(output, name=f".{name}.owner")
    with interrupts.remedy(f"the same command continues from {stage.folder}."), owner:
        try:
            stage.begin(inputs, targets)
            bad = stage.bad
            while not stage.publishing:
                good = [item for item in items if item.key not in bad]
                plans = {
                    target: plan_shards(
                        source,
                        part,
                        stage.place(target),
                        name,
                        num_shards,
                        digest([], inputs, bad),
                        label_map or labels,
                    )
                    for target, (part, labels) in zip(targets, _split(source, good, *holdout), strict=True)
                }
                with progress_bar(total=len(good), desc=f"convert {name}", unit=" images", disable=not progress) as bar:
                    notes = _write(source, sum(plans.values(), []), write, bar, skip_bad)
                if found := {key: reason for note in notes.values() for key, reason in note.bad}:
                    stage.bad = bad = {**bad, **found}
                else:
                    stage.complete({target: _describe(name, plan, notes) for target, plan in plans.items()})
        except ValueError:
            stage.discard()
            raise
        skipped += [(source.where(item), bad[item.key]) for item in items if item.key in bad]
        report = output / "skipped.txt"
        report.unlink(missing_ok=True)
        if skipped:
            write_atomically(report, "".join(f"{place}: {reason}\n" for place, reason in skipped).encode())
        stage.finish(targets)
    return Conversion({str(target): DatasetInfo.load(target) for target in targets}, skipped, source)


def convert_folder(
    input_dir: str | os.PathLike,
    output_dir: str | os.PathLike,
    *,
    landmarks: str | os.PathLike | None = None,
    depth: int = 1,
    **options: Any,
) -> Conversion:
    """Converts a folder `root/identity/.../image.jpg` to a dataset, or to two datasets that share no identity.

    Args:
      input_dir: the root; the identity of an image is the first part of its path below the root, or the first `depth`.
      output_dir: as for `convert`, but not inside the root.
      landmarks: as for `FolderSource`.
      depth: as for `FolderSource`.
      **options: further arguments of `convert`.

    Returns:
      A `Conversion`.

    Raises:
      ValueError: as for `convert` and `FolderSource`; an identity's folder without images counts as a bad image.
      OSError: if the root cannot be listed, or a file cannot be written.
    """
    root, output = pathlib.Path(input_dir), pathlib.Path(output_dir)
    if output.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"output {output} lies inside the input {root}: choose an output outside.")
    return convert(FolderSource(root, landmarks, depth), output, **options)


def _check_outputs(output, targets, name, overwrite):
    for target in targets:
        check_output(target, name, overwrite)
    for other in {output, *(output / kind for kind in ("train", "heldout", "validation"))} - set(targets):
        if (other / DATASET_FILE).exists():
            raise ValueError(
                f"{other / DATASET_FILE} belongs to a conversion with another holdout: choose another output."
            )


def _refuse(source, found, skip_bad):
    if found and not skip_bad:
        place, reason = found[0]
        others = f"; in all {in_all(found)}" if found[1:] else ""
        raise ValueError(f"{source.location}: {place}: {reason} (skip_bad would leave it out){others}.")


def _known_people(source, items, label_map, labels_from):
    """Returns the items of the people in a label map, and (place, reason) of the others."""
    if label_map is None:
        return items, []
    known = set(label_map)
    strangers = [
        (source.where(item), f"not one of the {len(known)} identities of {labels_from}: {item.identity!r}")
        for item in items
        if item.identity not in known
    ]
    return [item for item in items if item.identity in known], strangers


def _split(source, items, holdout, order, seed, holdout_images):
    """Returns (items, label map) of each dataset."""
    identities = {item.identity for item in items}
    if len(identities) < 2:
        raise ValueError(
            f"{source.location} has good images of {len(identities)} identities, but at least 2 are needed."
        )
    held_out = split_identities(identities, holdout, order=order, seed=seed) if holdout else set()
    train = [item for item in items if item.identity not in held_out]
    labels = sorted(identities - held_out)
    validation = split_images(train, holdout_images)
    parts = [([item for item in train if item.key not in validation], labels)]
    if holdout:
        parts.append(([item for item in items if item.identity in held_out], sorted(held_out)))
    if holdout_images:
        if not validation:
            raise ValueError(f"{source.location} has no identity with two good images, so none can be held out.")
        parts.append(([item for item in train if item.key in validation], labels))
    return parts


def _write(source, shards, write, bar, skip_bad):
    """Writes the unfinished shards; returns the notes of all shards by path."""
    notes = {shard.path: note for shard in shards if (note := read_note(shard))}
    bar.update(sum(len(shard.items) for shard in shards if shard.path in notes))
    missing = [shard for shard in shards if shard.path not in notes]
    with contextlib.closing(write(source, missing, bar.update)) as written:
        for shard, note in zip(missing, written, strict=True):
            notes[shard.path] = note
            bad = dict(note.bad)
            _refuse(source, [(source.where(i), bad[i.key]) for i in shard.items if i.key in bad], skip_bad)
    if cut_off := {key for note in notes.values() for key in note.cut_off}:
        source.cut_off.update(cut_off)
    return notes


def _describe(name, shards, notes):
    """Returns the `DatasetInfo` of finished shards."""
    notes = [notes[shard.path] for shard in shards]
    sizes = {tuple(size) for note in notes for size in note.sizes}
    return DatasetInfo(
        name=name,
        images=sum(note.images for note in notes),
        identities=len(shards[0].labels),
        image_size=sizes.pop() if len(sizes) == 1 else None,
        landmarks=sum(note.landmarks for note in notes),
        label_map=tuple(shards[0].labels),
        shards=tuple(
            Shard(shard.path.name, note.images, note.sha256) for shard, note in zip(shards, notes, strict=True)
        ),
    )
