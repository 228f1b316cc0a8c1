"""Export of a source to other formats: a folder, or a RecordIO pack in InsightFace's layout."""

import contextlib
import itertools
import os
import pathlib

from tfface.data.formats.image_files import EXTENSIONS, image_suffix
from tfface.data.formats.landmarks import LANDMARKS_FILE, write_landmarks
from tfface.data.formats.recordio import MAX_EXACT_LABEL, ImageRecord, open_writer, pack
from tfface.data.formats.text_lists import check_path
from tfface.data.sources.base import Source
from tfface.files import replacing
from tfface.progress import bar as progress_bar


def export_folder(
    source: Source, output_dir: str | os.PathLike, *, skip_bad: bool = False, progress: bool = False
) -> tuple[int, list[tuple[str, str]]]:
    """Writes the images of a source to a folder `output_dir/identity/.../image`, byte for byte.

    A key that starts with the identity is used as the path; any other key is placed below a folder named after the
    identity. Names without an image extension get one. Landmarks are written to `landmarks.csv`, where `convert_folder`
    finds them.

    Args:
      source: a `Source`, such as `RecordsSource`.
      output_dir: the folder, which must not exist; it appears when it is complete.
      skip_bad: whether to leave bad images out instead of raising.
      progress: whether to show a progress bar on stderr.

    Returns:
      Number of images, and a list of (place, reason) of the images that were left out.

    Raises:
      ValueError: if a record is bad, two images have the same path, there is no image, or the output exists.
      OSError: if a file cannot be read or written.
    """
    reject, skipped = _rejecter(source, skip_bad)
    count, landmarks = 0, {}
    with _new_folder(output_dir) as folder:
        for item, image in _images(source, _list(source, reject), reject, progress):
            try:
                path = _path(item, image)
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                with open(folder / path, "xb") as file:
                    file.write(image)
            except FileExistsError:
                reject(source.where(item), f"another image has the same path {path}")
            except ValueError as error:
                reject(source.where(item), str(error))
            else:
                count += 1
                if item.landmarks is not None:
                    landmarks[path] = item.landmarks
        if not count:
            raise ValueError(f"{source.location} holds no image that can be written.")
        if landmarks:
            write_landmarks(folder / LANDMARKS_FILE, landmarks)
    return count, skipped


def export_recordio(
    source: Source,
    output_dir: str | os.PathLike,
    *,
    image_size: tuple[int, int] | None = None,
    skip_bad: bool = False,
    progress: bool = False,
) -> tuple[int, list[tuple[str, str]]]:
    """Writes the images of a source to `train.rec`, `train.idx` and `property`, byte for byte.

    Labels are the indices of the identities sorted by name, as in a dataset. Images are ordered by identity and key,
    and numbered from 1; see `tfface.data.sources.recordio_source` for the layout. A pack that was written here gives
    the same bytes when it is converted and exported again. The format cannot store landmarks and names.

    Args:
      source: a `Source`, such as `RecordsSource`.
      output_dir: folder for the three files, which must not exist; it appears when it is complete.
      image_size: (height, width) of all images, for `property`; None writes no such file.
      skip_bad: as for `export_folder`.
      progress: as for `export_folder`.

    Returns:
      Number of images, and a list of (place, reason) of the images that were left out.

    Raises:
      ValueError: if a record is bad, there is no image or too many for the format, or the output exists.
      OSError: if a file cannot be read or written.
    """
    reject, skipped = _rejecter(source, skip_bad)
    items = sorted(_list(source, reject), key=lambda item: (item.identity, item.key))
    identities = sorted({item.identity for item in items})
    # The header records store indices as labels.
    if len(items) + len(identities) >= MAX_EXACT_LABEL:
        raise ValueError(
            f"a pack has at most {MAX_EXACT_LABEL} records, got {len(items)} images of {len(identities)} identities."
        )
    labels = {identity: float(label) for label, identity in enumerate(identities)}
    index, starts = 1, []
    with _new_folder(output_dir) as folder, open_writer(folder / "train.rec") as write:
        images = _images(source, items, reject, progress)
        for label, group in itertools.groupby(images, key=lambda pair: labels[pair[0].identity]):
            starts.append(index)
            for _, image in group:
                write(index, pack(ImageRecord((label,), index, image)))
                index += 1
        if len(starts) < len(labels):
            raise ValueError(f"{len(labels) - len(starts)} identities have no readable image: drop them first.")
        write(0, pack(ImageRecord((float(index), float(index + len(starts))), 0, b"")))
        for number, (start, stop) in enumerate(zip(starts, [*starts[1:], index], strict=True), start=index):
            write(number, pack(ImageRecord((float(start), float(stop)), number, b"")))
        if image_size is not None:
            (folder / "property").write_text("{},{},{}\n".format(len(labels), *image_size))
    return index - 1, skipped


def _rejecter(source, skip_bad):
    """Returns a function of (place, reason) and a list; the function raises, or with `skip_bad` appends to the list."""
    skipped = []

    def reject(place, reason):
        if not skip_bad:
            raise ValueError(f"{source.location}, {place}: {reason} (skip_bad would leave it out).")
        skipped.append((place, reason))

    return reject, skipped


def _list(source, reject):
    items = list(source.items())
    for place, reason in source.skipped:
        reject(place, reason)
    if not items:
        raise ValueError(f"{source.location} holds no images.")
    return items


def _images(source, items, reject, progress):
    """Yields (item, image) for every image that can be read."""
    for item in progress_bar(items, desc="write", unit=" images", disable=not progress):
        try:
            image = source.read(item)
        except (ValueError, OSError) as error:
            reject(source.where(item), str(error))
        else:
            yield item, image


@contextlib.contextmanager
def _new_folder(path):
    if pathlib.Path(path).exists():
        raise ValueError(f"{path} exists already: choose another output.")
    with replacing(path) as folder:
        folder.mkdir()
        yield folder


def _path(item, image):
    path = item.key if item.key.startswith(f"{item.identity}/") else f"{item.identity}/{item.key}"
    return check_path(path if path.lower().endswith(EXTENSIONS) else path + image_suffix(image))
