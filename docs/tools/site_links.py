"""Hook of MkDocs: what pages link outside of docs/ comes along, so that links work on GitHub and in the site.

README.md at the top is the first page. Another page outside, such as CONTRIBUTING.md, becomes a page of the site when a
page links it, and any other file a file of it.
"""

import os
import pathlib
import re

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
# Both would be the index of the site.
MOVED = {ROOT / "README.md": "index.md", DOCS / "README.md": "pages.md"}
# Code, where brackets are no links, or the end of a link, with its text where that is the name of a page.
_CODE_OR_LINK = re.compile(
    r"^ *(`{3,}).*?^ *\1$|`[^`\n]+`|(?P<name>\[[\w./]+\.md)?\]\((?P<target>[^)\s]+)\)", re.DOTALL | re.MULTILINE
)


def linked(page: pathlib.Path, target: str) -> pathlib.Path | None:
    """Returns the file that a link of a page leads to, or None where it leads to a heading or to an address."""
    name = target.partition("#")[0]
    if not name or "://" in name or name.startswith("mailto:"):
        return None
    return pathlib.Path(os.path.normpath(page.parent / name))


def targets(text: str) -> list[str]:
    """Returns the targets of the links of a page, without those in code."""
    return [match["target"] for match in _CODE_OR_LINK.finditer(text) if match["target"]]


def in_site(path: pathlib.Path) -> str:
    """Returns the path in the site of a file of the repository."""
    return MOVED.get(path) or path.relative_to(DOCS if path.is_relative_to(DOCS) else ROOT).as_posix()


def linked_outside(pages: list[pathlib.Path]) -> list[pathlib.Path]:
    """Returns the files outside of docs/ that pages link, and those that these pages link in turn."""
    found: dict[pathlib.Path, None] = {}
    waiting = list(pages)
    while waiting:
        page = waiting.pop()
        for target in targets(page.read_text(encoding="utf-8")):
            path = linked(page, target)
            if path is None or path in found or path.is_relative_to(DOCS) or path in MOVED:
                continue
            if not path.is_relative_to(ROOT) or not path.is_file():
                raise PluginError(f"{page.relative_to(ROOT)} links {target!r}, which is not a file of the repository.")
            found[path] = None
            if path.suffix == ".md":
                waiting.append(path)
    return list(found)


def on_files(files, config):
    pages = [pathlib.Path(file.abs_src_path) for file in files.documentation_pages()]
    for path in linked_outside([*pages, *MOVED]):
        files.append(File.generated(config, in_site(path), abs_src_path=str(path)))
    files.remove(files.get_file_from_path("README.md"))
    for path, name in MOVED.items():
        files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown, page, config, files):
    if page.file.abs_src_path is None:
        return markdown
    source = pathlib.Path(page.file.abs_src_path)
    folder = os.path.dirname(page.file.src_uri)

    def in_page(match):
        path = linked(source, match["target"] or "")
        if path is None or not path.is_relative_to(ROOT):
            return match[0]
        _, hash_, anchor = match["target"].partition("#")
        target = os.path.relpath(in_site(path), folder or ".").replace(os.sep, "/") + hash_ + anchor
        # The site has titles where GitHub has names of files.
        return f"{'[' + _title(path) if match['name'] else ''}]({target})"

    return _CODE_OR_LINK.sub(in_page, markdown)


def _title(page: pathlib.Path) -> str:
    return page.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
