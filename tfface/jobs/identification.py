"""Who is this: the people of a gallery whom images resemble, against the threshold of a FAR."""

import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tfface import data, evaluation, export, progress
from tfface.config.build import load_encoder
from tfface.jobs.embedding import load_any_embedder
from tfface.jobs.image_folders import folder_names, open_images
from tfface.jobs.model_card import model_card

_BATCH_SIZE = 64
_FILES = (".npz", ".tfrecord")


class Threshold(NamedTuple):
    """A cosine similarity from which two images count as one person.

    Attributes:
      value: float.
      far: float, share of impostor pairs that reach it; None: unknown.
      protocol: str, the result that measured it; None: unknown.
    """

    value: float
    far: float | None = None
    protocol: str | None = None


@dataclasses.dataclass(frozen=True)
class Found:
    """Whom images resemble.

    Attributes:
      people: dict from image to its list of `evaluation.NearPerson`, the most similar first.
      keys: names of the images of the gallery, in the order of the rows that `people` name.
      count: int, number of people in the gallery.
      threshold: `Threshold`, or None.
      reason: why there is no threshold, or None.
    """

    people: dict[str, list[evaluation.NearPerson]]
    keys: list[str]
    count: int
    threshold: Threshold | None
    reason: str | None

    def __str__(self) -> str:
        """Says who is on each image, and on what that stands."""
        lines = []
        for image, people in self.people.items():
            lines.append(f"{image}: {self._verdict(people[0])}")
            lines += [f"  {person.score:7.4f}  {person.label}  ({self.keys[person.row]})" for person in people]
        return "\n".join([*lines, self._basis()])

    def _verdict(self, nearest):
        if self.threshold is None:
            return f"most like {nearest.label}"
        known = nearest.score >= self.threshold.value
        return f"{nearest.label}" if known else f"nobody of the gallery, most like {nearest.label}"

    def _basis(self):
        gallery = f"gallery: {self.count} people, {len(self.keys)} images"
        if self.threshold is None:
            return f"{gallery}. {self.reason} Nothing was decided: give --threshold."
        text = f"{gallery}; threshold {self.threshold.value:.4f}"
        if self.threshold.far is None:
            return text
        # The FAR is that of one comparison, and a search makes as many as there are images.
        reached = self.threshold.far * len(self.keys)
        return (
            f"{text}, FAR {self.threshold.far:g} of {self.threshold.protocol}: a stranger reaches it with "
            f"{reached:.2g} images of the gallery on average"
        )


def find_people(
    model: str | os.PathLike,
    gallery: str | os.PathLike,
    images: Sequence[str | os.PathLike],
    *,
    far: float | None = None,
    threshold: float | None = None,
    count: int = 5,
    flip: bool = False,
    depth: int = 1,
) -> Found:
    """Finds the people of a gallery whom images of aligned faces resemble most.

    Args:
      model: export (SavedModel folder, `.tflite` or `.onnx` file), run folder or `.keras` file.
      gallery: folder of aligned faces, root/person/image.jpg; or a file of their embeddings by this model, as
        `tfface embed` writes it.
      images: files of aligned faces.
      far: the FAR whose threshold decides; None: that of the export, or 0.001 of a run. An export has one.
      threshold: cosine similarity that decides instead.
      count: int >= 1, people per image.
      flip: bool, add the embedding of the flipped image.
      depth: int, number of folders that name a person.

    Returns:
      `Found`.

    Raises:
      ValueError: model, gallery or images are not of that form, or the model has a threshold of another FAR.
      OSError: a file cannot be read.
    """
    chosen, reason = (Threshold(threshold), None) if threshold is not None else _threshold(model, far, flip)
    embedder = load_any_embedder(model)
    if pathlib.Path(gallery).suffix in _FILES:
        enrolled = export.load_embeddings(gallery)
    else:
        enrolled = _embed(embedder, open_images(gallery, depth=depth), flip, "gallery")
    names = folder_names(enrolled.keys, depth)
    folders: dict[pathlib.Path, list[str]] = {}
    for image in images:
        path = pathlib.Path(image)
        folders.setdefault(path.parent, []).append(path.name)
    people = {}
    for folder, files in folders.items():
        probes = _embed(embedder, data.ImageFolder(folder, tuple(dict.fromkeys(files))), flip, "images")
        nearest = evaluation.nearest_people(probes.vectors, enrolled.vectors, np.array(names), count)
        people.update(zip((str(folder / key) for key in probes.keys), nearest, strict=True))
    ordered = {str(pathlib.Path(image)): people[str(pathlib.Path(image))] for image in images}
    return Found(ordered, enrolled.keys, len(set(names)), chosen, reason)


def _embed(embedder, folder, flip, title):
    if not isinstance(folder, data.ImageFolder):
        raise ValueError(
            "a gallery is a folder root/person/image.jpg, or the .npz or .tfrecord file that `tfface embed` writes of "
            "one, got records."
        )
    dataset = data.folder_dataset(folder.root, folder.keys, _BATCH_SIZE, embedder.image_size)

    def shown(batches):
        with progress.bar(total=len(folder.keys), desc=title, unit=" images") as bar:
            for batch in batches:
                yield batch
                bar.update(len(batch["key"]))

    with data.naming_bad_files(folder):
        return export.embed_dataset(embedder, dataset, flip, shown)


def _threshold(model, far, flip):
    """Returns (`Threshold` at a FAR, None), or (None, the reason why there is none)."""
    if export.is_export(model):
        stated = None if flip else export.read_threshold(model)
        if stated is None:
            return None, "The export states no threshold for this flip mode."
        if far is not None and not np.isclose(stated["far"], far):
            raise ValueError(
                f"the export has the threshold of FAR {stated['far']:g}, not of {far:g}: export again with "
                f"--far={far:g}, or give the threshold."
            )
        return Threshold(**stated), None
    card = model_card(model, load_encoder(model), flip=flip, far=1e-3 if far is None else far)
    if card["threshold"] is None:
        return None, card["notes"][0]
    return Threshold(**card["threshold"]), None
