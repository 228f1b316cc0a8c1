"""Draws the picture of README.md from the report of a run: ROC, histograms and the hardest pairs.

Example:
  tfface train --flagfile=quickstart.flags && python docs/tools/plot_quickstart.py --run=runs/quickstart
"""

import base64
import io
import pathlib
import re

from absl import flags

from tfface.cli import program

_RUN = flags.DEFINE_string("run", "runs/quickstart", "Run folder with report.png and report.html.")
_OUTPUT = flags.DEFINE_string("output", "docs/quickstart.png", "PNG file to write.")
_FIGURE = re.compile(r"<figure>.*?</figure>", re.DOTALL)
_PICTURE = re.compile(r'data:image/jpeg;base64,([^"]+)"')
_TITLE_HEIGHT = 40  # Pixels of report.png; the title names the run.
_SIDE, _GAP, _COUNT = 94, 10, 6


def main():
    from PIL import Image, ImageDraw, ImageFont

    from tfface import files

    run = pathlib.Path(_RUN.value)
    with Image.open(run / "report.png") as report:
        curves = report.convert("RGB").crop((0, _TITLE_HEIGHT, *report.size))
    curves = curves.resize((1200, round(1200 * curves.height / curves.width)), Image.Resampling.LANCZOS)
    kinds = hardest_pairs((run / "report.html").read_text(encoding="utf-8"))
    picture = Image.new("RGB", (1200, curves.height + len(kinds) * (_SIDE + 60)), "white")
    picture.paste(curves)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(15)
    for row, (title, pairs) in enumerate(kinds.items()):
        top = curves.height + row * (_SIDE + 60) + 12
        draw.text((_GAP, top), title, "black", font)
        for column, (score, *faces) in enumerate(pairs[:_COUNT]):
            left = _GAP + column * (2 * _SIDE + _GAP)
            for place, face in enumerate(faces):
                with Image.open(io.BytesIO(face)) as opened:
                    picture.paste(opened.resize((_SIDE - 3, _SIDE - 3)), (left + place * (_SIDE - 3), top + 22))
            draw.text((left, top + 22 + _SIDE - 2), f"cosine {score}", "black", font)
    encoded = io.BytesIO()
    picture.quantize(256, dither=Image.Dither.NONE).save(encoded, "PNG", optimize=True)
    files.write_atomically(_OUTPUT.value, encoded.getvalue())
    print(f"Wrote {_OUTPUT.value}")


def hardest_pairs(page: str) -> dict[str, list[tuple]]:
    """Reads the hardest pairs of a report: dict from title to tuples of cosine, first and second JPEG file."""
    found = {}
    for title in ("Genuine pairs that look least alike", "Impostor pairs that look most alike"):
        _, _, after = page.partition(f"<h3>{title}</h3>")
        section = re.split(r"<h[23]>|</section>", after)[0]
        found[title] = [
            (re.search(r"<strong>(.*?)</strong>", figure)[1], *map(base64.b64decode, _PICTURE.findall(figure)))
            for figure in _FIGURE.findall(section)
        ]
    return found


if __name__ == "__main__":
    program.run(main)
