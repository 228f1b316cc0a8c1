"""Lists of retrieval benchmarks: Stanford Online Products and In-Shop Clothes Retrieval.

Reference:
  Oh Song et al., Deep Metric Learning via Lifted Structured Feature Embedding, CVPR 2016; Liu et al., DeepFashion,
  CVPR 2016.
"""

import os
from typing import NamedTuple

from tfface.data.formats.text_lists import NUMBER, PATH, Columns, compile_line, malformed, parse_lines, read_lines

_SOP_HEADER = compile_line(r"image_id class_id super_class_id path")
_SOP_LINE = Columns(NUMBER, NUMBER, NUMBER, PATH)
_SHOP_HEADER = compile_line(r"image_name\s+item_id\s+evaluation_status")
_SHOP_LINE = Columns(PATH, r"(\S+)", "(train|query|gallery)")


class LabelledImages(NamedTuple):
    """Images of a list: N names, all different, and the N names of their classes."""

    names: list[str]
    classes: list[str]


def read_sop_images(path: str | os.PathLike) -> LabelledImages:
    """Reads `Ebay_test.txt` or `Ebay_train.txt`: a header, then lines `image_id class_id super_class_id path`.

    Args:
      path: path of the file.

    Returns:
      `LabelledImages` with the paths of the list.

    Raises:
      ValueError: if a line is malformed, or an image is listed twice.
      OSError: if the file cannot be read.
    """
    header, *lines = read_lines(path) or [""]
    if not _SOP_HEADER.fullmatch(header):
        raise malformed(path, 1, header, "'image_id class_id super_class_id path'")
    matches = list(parse_lines(path, _SOP_LINE, "'image_id class_id super_class_id path'", lines, 2))
    return _different(path, [match[4] for _, match in matches], [match[2] for _, match in matches])


def read_in_shop_images(path: str | os.PathLike) -> tuple[LabelledImages, LabelledImages]:
    """Reads `list_eval_partition.txt`: the number of images, a header, then lines `image_name item_id status`.

    Args:
      path: path of the file.

    Returns:
      (queries, gallery), `LabelledImages` each; images for training are left out.

    Raises:
      ValueError: if a line is malformed, an image is listed twice, or their number is another one.
      OSError: if the file cannot be read.
    """
    lines = read_lines(path)
    if len(lines) < 2 or not lines[0].strip().isdecimal() or not _SHOP_HEADER.fullmatch(lines[1]):
        raise malformed(path, 1, lines[0] if lines else "", "the number of images, then 'image_name item_id ...'")
    if int(lines[0]) != len(lines) - 2:
        raise ValueError(f"{path}: line 1 announces {int(lines[0])} images, got {len(lines) - 2}.")
    matches = [match for _, match in parse_lines(path, _SHOP_LINE, "'image_name item_id status'", lines[2:], 3)]
    _different(path, [match[1] for match in matches], [])

    def part(status):
        found = [match for match in matches if match[3] == status]
        return LabelledImages([match[1] for match in found], [match[2] for match in found])

    return part("query"), part("gallery")


def _different(path, names, classes):
    if len(set(names)) < len(names):
        seen: set[str] = set()
        repeated = next(name for name in names if name in seen or seen.add(name))
        raise ValueError(f"{path}: the image {repeated!r} is listed twice.")
    return LabelledImages(names, classes)
