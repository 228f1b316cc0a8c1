"""The one summary of what was read and what was not: reasons by kind, with an example of each."""

import re
from collections.abc import Iterable, Mapping

from tfface.data.formats.text_lists import is_name


def summary(read: int, found: Iterable[tuple[str, str]], passed_over: Mapping[str, int] | None = None) -> str:
    """Formats a summary such as "read 7 images, left out 1: 1 of an empty file, such as b/2.jpg; passed over 3 files".

    Args:
      read: number of images that were read.
      found: (place, reason) of everything that was left out.
      passed_over: number of entries that are no images, by kind.
    """
    found = list(found)
    others = " and ".join(f"{count} {kind}" for kind, count in (passed_over or {}).items() if count)
    return f"read {read} images, left out {in_all(found) if found else 0}{others and f'; passed over {others}'}"


def in_all(found: Iterable[tuple[str, str]]) -> str:
    """Formats a summary such as "3: 2 of a .bmp picture, such as a/1.bmp; 1 of an empty file, such as b/2.jpg".

    Args:
      found: (place, reason) of everything that was left out, at least one.
    """
    found, kinds = list(found), {}
    for place, reason in found:
        # What follows differs from file to file, and so do numbers and quoted names.
        kind = re.split(r" \(|; |: |, got ", reason)[0]
        kinds.setdefault(re.sub(r"'[^']*'|-?\d[\d.]*", "", kind), []).append((place, kind))
    ordered = sorted(kinds.values(), key=lambda of_kind: -len(of_kind))
    shown = [f"{len(of_kind)} of {of_kind[0][1]}, such as {printable(of_kind[0][0])}" for of_kind in ordered]
    return f"{len(found)}: {'; '.join(shown)}"


def printable(place: str) -> str:
    """Returns the name of a place, escaped where it holds control characters or is not UTF-8."""
    return place if is_name(place) or not place else ascii(place)
