"""Parts of a self-contained HTML page: every text is escaped, every picture is embedded, nothing is fetched."""

import base64
import hashlib
import html
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tfface import files

# No script of the data runs and nothing is loaded, even if a name in the data holds HTML.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

_STYLE = """
:root { color-scheme: light dark; --page: #f6f7f9; --card: #ffffff; --text: #1c2330; --quiet: #5a6475; --line: #dde1e8;
  --head: #eef1f5; --worst: #fdecea; --worst-text: #8f1d14; }
@media (prefers-color-scheme: dark) { :root { --page: #14171c; --card: #1d2229; --text: #e6e9ee; --quiet: #a3adba;
  --line: #343b46; --head: #272d36; --worst: #4a1f1c; --worst-text: #ffb4ab; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); line-height: 1.5;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 76rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 0 0 .75rem; }
h3 { font-size: 1rem; margin: 1.25rem 0 .5rem; }
p { margin: .25rem 0 .75rem; max-width: 60rem; overflow-wrap: anywhere; }
.quiet, figcaption, caption { color: var(--quiet); font-size: .875rem; }
section { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: 1rem 1.1rem 1.1rem;
  margin-top: 1rem; }
.scroll { overflow-x: auto; margin-bottom: .4rem; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .4rem; }
th, td { padding: .38rem .8rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th { background: var(--head); font-weight: 600; }
tbody th { background: none; }
th:first-child { text-align: left; white-space: normal; overflow-wrap: anywhere; min-width: 6rem; }
tr.worst > * { background: var(--worst); color: var(--worst-text); }
figure { margin: 0; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); gap: 1rem; }
.charts img { display: block; width: 100%; height: auto; background: #ffffff; border-radius: .4rem; }
.pairs { display: grid; grid-template-columns: repeat(auto-fill, minmax(13.5rem, 1fr)); gap: .8rem; }
.pairs figure { border: 1px solid var(--line); border-radius: .4rem; padding: .5rem; }
.pairs .faces { display: flex; gap: .4rem; }
.pairs img { width: calc(50% - .2rem); aspect-ratio: 1; border-radius: .25rem; background: var(--head); }
.pairs figcaption { margin-top: .35rem; overflow-wrap: anywhere; line-height: 1.35; }
.pairs strong { color: var(--text); font-variant-numeric: tabular-nums; }
dl { display: grid; grid-template-columns: minmax(7rem, max-content) 1fr; gap: .3rem 1rem; margin: 0;
  font-size: .9rem; }
dt { color: var(--quiet); }
dd { margin: 0; overflow-wrap: anywhere; }
code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: .85rem; }
@media (max-width: 40rem) { dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .5rem; }
  .pairs { grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); } }
@media print { section { break-inside: avoid; } }
"""

_KINDS = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"<?xml": "image/svg+xml"}


def write_page(path: str | os.PathLike, title: str, body: Iterable[str], style: str = "", script: str = "") -> None:
    """Writes a page.

    Args:
      path: HTML file to write; a reader sees the old file or the whole new one.
      title: str, title of the page.
      body: list of str, HTML made by the functions of this module.
      style: str, CSS after that of all pages.
      script: str, the only script that the page may run; it can load nothing either.
    """
    policy = _POLICY
    if script:
        policy += f"; script-src 'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        script = f"<script>{script}</script>\n"
    text = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{_STYLE}{style}</style>
</head>
<body>
<main>
<h1>{escape(title)}</h1>
{"".join(body)}</main>
{script}</body>
</html>
"""
    # Paths may hold bytes that are not valid UTF-8, which Python keeps as surrogates.
    files.write_atomically(path, text.encode("utf-8", "replace"))


def escape(text: object) -> str:
    """Makes HTML that shows a text as it is, in element content and in quoted attributes."""
    return html.escape(str(text), quote=True)


def section(heading: str, *parts: str) -> str:
    """Makes a card with a heading around HTML."""
    return f"<section>\n<h2>{escape(heading)}</h2>\n{''.join(parts)}</section>\n"


def heading(text: str) -> str:
    """Makes a heading within a section."""
    return f"<h3>{escape(text)}</h3>\n"


def paragraph(text: str) -> str:
    """Makes a paragraph of quiet text."""
    return f'<p class="quiet">{escape(text)}</p>\n'


def table(caption: str, header: Sequence[str], rows: Iterable[Sequence], worst: int | None = None) -> str:
    """Makes a table whose first column is text and whose other columns are numbers.

    Args:
      caption: str, caption of the table.
      header: list of str, names of the columns.
      rows: list of lists, each as long as the header.
      worst: int, index of the row to mark, or None.
    """
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    lines = []
    for number, (first, *others) in enumerate(rows):
        mark = ' class="worst"' if number == worst else ""
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in others)
        lines.append(f'<tr{mark}><th scope="row">{escape(first)}</th>{cells}</tr>\n')
    # A keyboard can scroll only elements that take the focus.
    return (
        f'<div class="scroll" role="region" aria-label="{escape(caption)}" tabindex="0">\n<table>\n'
        f"<caption>{escape(caption)}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{''.join(lines)}</tbody>\n"
        "</table>\n</div>\n"
    )


def charts(*pictures: tuple[bytes, str]) -> str:
    """Makes charts, side by side if there is room.

    Args:
      *pictures: (bytes of the picture, alternative text) per chart.
    """
    figures = "".join(f"<figure>{image(picture, text)}</figure>\n" for picture, text in pictures)
    return f'<div class="charts">\n{figures}</div>\n'


def image(picture: bytes, text: str) -> str:
    """Makes an image from the bytes of an SVG, PNG or JPEG file, with its alternative text."""
    kind = next(kind for start, kind in _KINDS.items() if picture.startswith(start))
    return f'<img src="data:{kind};base64,{base64.b64encode(picture).decode()}" alt="{escape(text)}">'


def face_pairs(pairs: Iterable[tuple[str, str, float, bytes, bytes]]) -> str:
    """Makes a grid of pairs of faces with their scores.

    Args:
      pairs: list of (left, right, score, left_picture, right_picture): names, number, bytes of image files.
    """
    figures = []
    for left, right, score, *pictures in pairs:
        faces = "".join(image(picture, name) for name, picture in zip((left, right), pictures, strict=True))
        names = f"<br>{escape(left)}<br>{escape(right)}"
        caption = f"<figcaption><strong>{score:.3f}</strong>{names}</figcaption>"
        figures.append(f'<figure><div class="faces">{faces}</div>{caption}</figure>\n')
    return f'<div class="pairs">\n{"".join(figures)}</div>\n'


def definitions(values: Mapping[str, Any]) -> str:
    """Makes a list of names and their values.

    Args:
      values: dict from str to text, or to a dict that becomes several lines; None and {} are left out.
    """
    lines = []
    for name, value in values.items():
        if value is None or value == {}:
            continue
        items = [f"{key}: {item}" for key, item in value.items()] if isinstance(value, dict) else [value]
        text = "<br>".join(f"<code>{escape(item)}</code>" for item in items)
        lines.append(f"<dt>{escape(name)}</dt><dd>{text}</dd>\n")
    return f"<dl>\n{''.join(lines)}</dl>\n"
