"""The one summary of what was not read: reasons by kind, with an example of each."""

import re
from collections.abc import Iterable


def in_all(found: Iterable[tuple[str, str]]) -> str:
    """Formats a summary such as "3: 2 of a .bmp picture, such as a/1.bmp; 1 of an empty file, such as b/2.jpg".

    Args:
      found: (place, reason) of everything that was left out, at least one.
    """
    found, kinds = list(found), {}
    for place, reason in found:
        # What follows differs from file to file.
        kinds.setdefault(re.split(r" \(|; |: ", reason)[0], []).append(place)
    ordered = sorted(kinds.items(), key=lambda kind: -len(kind[1]))
    return f"{len(found)}: " + "; ".join(f"{len(places)} of {kind}, such as {places[0]}" for kind, places in ordered)
