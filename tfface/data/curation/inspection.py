"""Inspection of a dataset: its statistics, and a contact sheet of some of its faces."""

import collections
import dataclasses
import hashlib
from collections.abc import Mapping, Sequence

from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

from tfface.data.formats.text_lists import is_name
from tfface.data.images.decoding import check_image, open_image
from tfface.data.parallel import map_in_threads
from tfface.data.sources.base import Item, Source
from tfface.progress import bar as progress_bar

_CELL, _GAP, _MAX_LABEL = 112, 4, 180  # Pixels of the contact sheet.
_BACKGROUND, _INK, _FAINT = "#FFFFFF", "#222222", "#F0F0F0"
_DOTS = ("#0072B2", "#56B4E9", "#009E73", "#D55E00", "#E69F00")


@dataclasses.dataclass
class Summary:
    """Statistics of a dataset.

    Args:
      location: location of the source.
      images_of: number of images per identity.
      sizes: number of images per (height, width).
      formats: number of images per format, "JPEG" or "PNG".
      num_bytes: total size of the encoded images.
      landmarks: number of images with landmarks.
      bad: (place, reason) of the images with an unreadable header; the other statistics ignore them.
      samples: dict from some identities to some of their `Item`s.
    """

    location: str
    images_of: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    sizes: collections.Counter[tuple[int, int]] = dataclasses.field(default_factory=collections.Counter)
    formats: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    num_bytes: int = 0
    landmarks: int = 0
    bad: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    samples: dict[str, list[Item]] = dataclasses.field(default_factory=dict)

    @property
    def images(self) -> int:
        """Number of good images."""
        return sum(self.images_of.values())


def summarise(
    source: Source, *, identities: int = 12, images: int = 8, workers: int | None = None, progress: bool = False
) -> Summary:
    """Collects the statistics of a source, in one pass that decodes only the headers of the images.

    Args:
      source: a `tfface.data.sources.Source`.
      identities, images: number of identities to sample, and of images per identity. They are chosen by a hash of their
        names, so that neither alphabet nor order favours any.
      workers: number of threads; default: the number of processors.
      progress: whether to show a progress bar on stderr.

    Returns:
      A `Summary`.
    """

    def look(item):
        try:
            data = source.read(item)
            with open_image(data) as image:
                return item, len(data), image.format, (image.height, image.width)
        except Exception as error:  # Pillow raises many types for damaged files.
            return item, None, None, str(error)

    summary = Summary(str(source.location))
    with progress_bar(desc=f"look at {source.location}", unit=" images", disable=not progress) as bar:
        for item, num_bytes, kind, size in map_in_threads(look, source.items(), workers):
            bar.update()
            if num_bytes is None:
                summary.bad.append((source.where(item), size))
                continue
            summary.images_of[item.identity] += 1
            summary.sizes[size] += 1
            summary.formats[kind] += 1
            summary.num_bytes += num_bytes
            summary.landmarks += item.landmarks is not None
            _sample(summary.samples, item, identities, images)
    summary.bad[:0] = source.skipped
    return summary


def contact_sheet(source: Source, samples: Mapping[str, Sequence[Item]]) -> Image.Image:
    """Draws one row of faces per identity, with known landmarks.

    Args:
      source: the `Source`.
      samples: dict from identity to `Item`s, as in `Summary`.

    Returns:
      `PIL.Image.Image`. An image that cannot be decoded leaves its cell empty.

    Raises:
      ValueError: if there are no samples.
    """
    if not samples:
        raise ValueError(f"{source.location} has no images to show.")
    columns = max(map(len, samples.values()))
    step = _CELL + _GAP
    font = ImageFont.truetype(font_manager.findfont("DejaVu Sans"), 14)
    labels = {identity: _fit(identity, font) for identity in sorted(samples)}
    margin = 6 * _GAP + int(max(map(font.getlength, labels.values())))
    sheet = Image.new("RGB", (margin + columns * step + _GAP, len(samples) * step + _GAP), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for row, (identity, label) in enumerate(labels.items()):
        top = _GAP + row * step
        draw.text((_GAP * 2, top + _CELL / 2), label, fill=_INK, font=font, anchor="lm")
        for column, item in enumerate(samples[identity]):
            left = margin + column * step
            draw.rectangle((left, top, left + _CELL - 1, top + _CELL - 1), fill=_FAINT)
            try:
                data = source.read(item)
                check_image(data)
            except (OSError, ValueError):
                continue
            face = _thumbnail(data, item.landmarks)
            sheet.paste(face, (left + (_CELL - face.width) // 2, top + (_CELL - face.height) // 2))
    return sheet


def _sample(samples, item, identities, images):
    """Keeps the items with the smallest hashes of the identities with the smallest hashes."""
    samples.setdefault(item.identity, []).append(item)
    samples[item.identity] = sorted(samples[item.identity], key=lambda item: _rank(item.key))[:images]
    if len(samples) > identities:
        # A dropped identity never returns, so the remaining ones have been sampled from their first image on.
        del samples[max(samples, key=_rank)]


def _rank(name):
    return hashlib.sha256(name.encode(errors="surrogateescape")).digest()


def _thumbnail(data, landmarks):
    with open_image(data) as image:
        face = image.convert("RGB")
    scale = _CELL / max(face.size)
    face = face.resize([max(1, round(side * scale)) for side in face.size], Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(face)
    for x, y, colour in zip((landmarks or ())[::2], (landmarks or ())[1::2], _DOTS, strict=False):
        x, y = (x + 0.5) * scale - 0.5, (y + 0.5) * scale - 0.5
        draw.ellipse((x - 2, y - 2, x + 2, y + 2), fill=colour, outline="white")
    return face


def _fit(text, font):
    text = text if is_name(text) else ascii(text)
    while font.getlength(text) > _MAX_LABEL and len(text) > 1:
        text = text[:-2] + "…"
    return text
