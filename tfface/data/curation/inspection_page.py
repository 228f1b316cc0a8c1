"""A self-contained HTML page that summarises a dataset."""

import base64
import html
import io
import os
import pathlib

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from tfface import files
from tfface.data.curation.inspection import Summary

_SHOWN = 10  # Rows of a table.
_COLOUR = "#0072B2"
_WIDE = 20  # Ratio of largest to smallest value above which an axis is logarithmic.
# No script runs and nothing is loaded, whatever the names in the data contain.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #f6f7f8; margin: 0; }
main { max-width: 1120px; margin: 0 auto; padding: 24px; }
h1 { font-size: 22px; margin: 0 0 16px; overflow-wrap: anywhere; }
h2 { font-size: 16px; margin: 0 0 10px; }
small { color: #666; font-weight: normal; }
section { background: #fff; border: 1px solid #e2e4e7; border-radius: 8px; padding: 16px 20px; margin-bottom: 16px; }
.numbers { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; }
.numbers div { color: #666; font-size: 13px; }
.numbers b { display: block; color: #222; font-size: 22px; font-weight: 600; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(240px, 1fr)); gap: 24px; }
table { border-collapse: collapse; width: 100%; }
td { padding: 3px 0; border-bottom: 1px solid #eee; overflow-wrap: anywhere; }
td + td { text-align: right; padding-left: 16px; font-variant-numeric: tabular-nums; }
.bad td + td { text-align: left; }
img { max-width: 100%; height: auto; display: block; }
"""


def write_inspection(folder: str | os.PathLike, summary: Summary, sheet: Image.Image) -> None:
    """Writes the `inspection_page` as `index.html`, and `contact_sheet.png`, into a folder."""
    picture = io.BytesIO()
    sheet.save(picture, "PNG")
    files.write_atomically(pathlib.Path(folder) / "contact_sheet.png", picture.getvalue())
    files.write_atomically(
        pathlib.Path(folder) / "index.html", inspection_page(summary, sheet).encode(errors="replace")
    )


def inspection_page(summary: Summary, sheet: Image.Image) -> str:
    """Renders a summary as HTML; all names are escaped, and pictures are embedded.

    Args:
      summary: a `tfface.data.curation.inspection.Summary` with at least one image.
      sheet: its `contact_sheet`.

    Returns:
      The text of the page.
    """
    counts = np.array(list(summary.images_of.values()))
    numbers = {
        "images": f"{summary.images:,}",
        "identities": f"{len(counts):,}",
        "images per identity": f"{np.median(counts):g} ({counts.min()}–{counts.max()})",
        "bytes per image": f"{summary.num_bytes / summary.images:,.0f}",
        "with landmarks": f"{summary.landmarks / summary.images:.0%}",
        "bad images": f"{len(summary.bad):,}",
    }
    cards = "".join(f"<div><b>{html.escape(value)}</b>{name}</div>" for name, value in numbers.items())
    ranked = sorted(summary.images_of.items(), key=lambda pair: (-pair[1], pair[0]))
    sizes = sorted(summary.sizes.items(), key=lambda pair: (-pair[1], pair[0]))
    tables = [
        _table("Most images", ranked[:_SHOWN]),
        _table("Fewest images", ranked[: -_SHOWN - 1 : -1]),
        _table("Height × width", [(f"{h} × {w}", count) for (h, w), count in sizes[:_SHOWN]], len(sizes)),
        _table("Formats", sorted(summary.formats.items())),
    ]
    parts = [
        f'<section class="numbers">{cards}</section>',
        f"<section><h2>Images per identity, and their size</h2>{_charts(counts, summary.sizes)}</section>",
        f'<section class="columns">{"".join(tables)}</section>',
        f"<section><h2>Some identities, chosen by hash</h2>{_jpeg('Contact sheet of faces', sheet)}</section>",
    ]
    if summary.bad:
        bad = _table("Bad images", summary.bad[: 10 * _SHOWN], len(summary.bad))
        parts.append(f'<section class="bad">{bad}</section>')
    title = html.escape(summary.location)
    policy = f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    head = f'<meta charset="utf-8">{policy}<meta name="viewport" content="width=device-width"><title>{title}</title>'
    body = f"<main><h1>{title}</h1>{''.join(parts)}</main>"
    return f'<!DOCTYPE html><html lang="en"><head>{head}<style>{_STYLE}</style></head><body>{body}</body></html>\n'


def _table(title, rows, total=None):
    shown = f"<small> · {len(rows)} of {total:,}</small>" if total and total > len(rows) else ""
    texts = [(name, value if isinstance(value, str) else f"{value:,}") for name, value in rows]
    cells = "".join(f"<tr><td>{html.escape(name)}</td><td>{html.escape(text)}</td></tr>" for name, text in texts)
    return f"<div><h2>{title}{shown}</h2><table>{cells}</table></div>"


def _charts(counts, sizes):
    figure = Figure(figsize=(10.8, 2.8), dpi=150, layout="constrained")
    left, right = figure.subplots(1, 2)
    sides = np.repeat([min(size) for size in sizes], list(sizes.values()))
    for axes, values, xlabel, ylabel in (
        (left, counts, "images per identity", "identities"),
        (right, sides, "shorter side of the image (pixels)", "images"),
    ):
        heights, edges = np.histogram(values, _edges(values))
        axes.bar(edges[:-1], heights, np.diff(edges) * 0.92, align="edge", color=_COLOUR)
        if edges[-1] > _WIDE * edges[0]:
            axes.set_xscale("log")
        elif len(heights) < 10:  # A single value would fill the chart with one bar.
            axes.set_xlim(edges[0] - 5, edges[-1] + 5)
            axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#DDDDDD", linewidth=0.7)
        axes.set_axisbelow(True)
        axes.yaxis.get_major_locator().set_params(integer=True)
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return _data("Histograms of images per identity and of image sizes", "png", picture.getvalue())


def _edges(values):
    """Returns the edges of at most 40 bins, between whole numbers; bins grow in width if the range is wide."""
    low, high = values.min() - 0.5, values.max() + 0.5
    inner = (np.geomspace if high > _WIDE * low else np.linspace)(low, high, 41)[1:-1]
    return np.unique(np.concatenate([[low, high], np.round(inner) + 0.5]).clip(low, high))


def _jpeg(title, image):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return _data(title, "jpeg", buffer.getvalue())


def _data(title, kind, data):
    return f'<img alt="{title}" src="data:image/{kind};base64,{base64.b64encode(data).decode()}">'
