"""The site of the documentation without MkDocs: its navigation has every page, its gallery every picture."""

import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


def test_navigation_has_every_page_once():
    _, nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").split("\nnav:\n")
    named = re.findall(r"- (\S+\.md)$", nav, re.MULTILINE)
    pages = [path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")]
    # README.md at the top is the first page, beside the list of all pages.
    expected = [{"README.md": "pages.md"}.get(page, page) for page in pages] + ["index.md"]
    assert sorted(name for name in named if not (ROOT / name).exists()) == sorted(expected)


def test_gallery_has_every_picture():
    text = (DOCS / "gallery.md").read_text(encoding="utf-8")
    shown = re.findall(r"^!\[[^\]]+\]\((.+)\)$", text, re.MULTILINE)
    assert sorted(shown) == sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.png"))
