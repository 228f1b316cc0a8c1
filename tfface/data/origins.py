"""Origins of a `tf.data.Dataset`: the files that its batches are read from, and the identities that its labels number.

The input pipelines note both for the datasets that they return. They are found again behind `map`, `batch`, `take`,
`zip` and other transformations, because a dataset knows its inputs. They are lost where batches leave `tf.data`: in
generators, in `distribute_datasets_from_function`, and in datasets that were saved.
"""

import contextlib
import dataclasses
import hashlib
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf

from tfface import keras_private
from tfface.data.checked_folders import ImageFolder, naming_bad_files
from tfface.data.checked_records import Records, naming_bad_records


@dataclasses.dataclass(frozen=True)
class LabelMap:
    """Which identities the labels of a dataset number; equal if labels stand for the same people.

    Args:
      source: location of the dataset that numbers them.
      identities: their number.
      sha256: SHA-256 of their names in the order of their labels, in hexadecimal.
    """

    source: str = dataclasses.field(compare=False)
    identities: int
    sha256: str

    @classmethod
    def of(cls, source: str, names: Sequence[str]) -> "LabelMap":
        return cls(source, len(names), hashlib.sha256("\0".join(names).encode(errors="surrogatepass")).hexdigest())


@dataclasses.dataclass(frozen=True)
class Origin:
    """The files behind a dataset, and its label map; None if that is unknown."""

    files: Records | ImageFolder
    label_map: LabelMap | None = None


_NOTED: weakref.WeakKeyDictionary[tf.data.Dataset, Origin] = weakref.WeakKeyDictionary()


def note_origin(dataset: tf.data.Dataset, origin: Origin) -> tf.data.Dataset:
    """Notes the origin of a dataset; returns the dataset."""
    _NOTED[dataset] = origin
    return dataset


def origins(data: Any) -> list[Origin]:
    """Returns the known origins of a dataset, more than one if it joins several; none for other data."""
    if isinstance(data, tf.data.Dataset) and data in _NOTED:
        return [_NOTED[data]]
    return [origin for each in keras_private.inputs_of(data) for origin in origins(each)]


def label_map(data: Any) -> LabelMap | None:
    """Returns the label map of a dataset; None if it is unknown or there are several."""
    found = {origin.label_map for origin in origins(data)}
    return found.pop() if len(found) == 1 else None


def check_same_labels(trained: LabelMap | None, data: Any) -> None:
    """Checks that the labels of a dataset number the identities that a model was trained on, as far as both are known.

    Args:
      trained: label map of the training data, or None.
      data: as for `keras.Model.evaluate`.

    Raises:
      ValueError: they number others; the message has the remedies.
    """
    if trained is None:
        return
    for labels in [origin.label_map for origin in origins(data)]:
        if labels is not None and labels != trained:
            raise ValueError(
                f"the labels of {labels.source} ({labels.identities} identities) number other people than those of "
                f"{trained.source} ({trained.identities}), which the model is trained on, so a loss would compare "
                f"different people: convert the images with --labels_from={trained.source}, hold out images of known "
                f"people with --holdout_images, pass eval_dataset(..., labels_of={trained.source!r}), or measure other "
                "people with tfface.evaluation.verify."
            )


@contextlib.contextmanager
def naming_bad_data(*data: Any) -> Iterator[None]:
    """Context manager that names the damaged record or file if reading a dataset fails inside its block.

    Args:
      *data: datasets; other data change nothing.

    Raises:
      ValueError: a record or a file is damaged; the message names it and the reason.
    """
    with contextlib.ExitStack() as stack:
        for origin in [origin for each in data for origin in origins(each)]:
            if isinstance(origin.files, ImageFolder):
                stack.enter_context(naming_bad_files(origin.files))
            else:
                stack.enter_context(naming_bad_records(origin.files))
        yield
