"""The model card beside an export: JSON for programs, Markdown for people."""

import html
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from tfface import files, json_files
from tfface.json_files import Either, Number

_WORDS = {"auc": "AUC", "eer": "EER", "far": "FAR", "tar": "TAR", "sha256": "SHA-256", "tfface": "tfface version"}

_THRESHOLD = {"value": Number(-2, 2, whole=False), "far": Number(0, 1, whole=False), "protocol": str}
_FACTS = {"sha256": str, "flip": bool, "export": {"quantize": str, ...: object}, ...: object}


def write_card(card: Mapping[str, Any], export: str | os.PathLike) -> None:
    """Writes the card of an export, as JSON and as Markdown; equal cards give equal bytes.

    Args:
      card: dict of dicts, lists or single JSON values; its keys name the sections of the Markdown.
      export: SavedModel folder, which then holds `assets.extra/model_card.json` and `.md`; or a file, which then has
        `NAME.card.json` and `NAME.card.md` beside it.

    Raises:
      ValueError: the card holds values that are not JSON.
    """
    try:
        text = json.dumps(card, indent=1, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"`card` must hold JSON values, got {card!r} ({error}).") from None
    for path, content in zip(card_files(export), (text + "\n", to_markdown(card)), strict=True):
        files.write_atomically(path, content.encode())


def card_files(export: str | os.PathLike) -> tuple[pathlib.Path, pathlib.Path]:
    """Returns the paths (JSON, Markdown) of an export's card; a folder is a SavedModel."""
    export = pathlib.Path(export)
    if export.is_dir():
        return export / "assets.extra" / "model_card.json", export / "assets.extra" / "model_card.md"
    return export.with_name(f"{export.name}.card.json"), export.with_name(f"{export.name}.card.md")


def read_facts(export: str | os.PathLike) -> dict[str, Any] | None:
    """Reads from the card of an export what ties results of the export to its network.

    Args:
      export: path of any model.

    Returns:
      dict with `network_sha256` (str), `flip` (bool) and `quantize` (str); None without a card of this package.
    """
    path = card_files(export)[0]
    if not path.is_file():
        return None
    try:
        card = json_files.read(path, _FACTS)
    except ValueError:
        return None
    return {"network_sha256": card["sha256"], "flip": card["flip"], "quantize": card["export"]["quantize"]}


def read_threshold(export: str | os.PathLike) -> dict[str, Any] | None:
    """Reads the threshold that the card of an export states, for the network and the flip mode of the export.

    Args:
      export: path of an export.

    Returns:
      dict with `value` (float), `far` (float) and `protocol` (str); None without a card, or if it states none.

    Raises:
      ValueError: the card is damaged.
    """
    path = card_files(export)[0]
    if not path.is_file():
        return None
    return json_files.read(path, {"threshold": Either(None, _THRESHOLD), ...: object})["threshold"]


def to_markdown(card: Mapping[str, Any]) -> str:
    """Formats a card as Markdown: a section per value, and tables for dicts and lists of dicts."""
    return "\n".join([f"# Model card of {_text(card.get('name'))}", "", *_lines(card, 2)])


def _lines(values, level):
    """Returns the lines of a dict: a table of its single values, then a section for each other value."""
    single = [name for name, value in values.items() if not _is_section(value)]
    lines = _table(["", ""], [[_title(name), _text(values[name])] for name in single]) if single else []
    for name, value in values.items():
        if name not in single:
            lines += [f"{'#' * level} {_title(name)}", "", *_section(value, level + 1)]
    return lines


def _section(value, level):
    if isinstance(value, dict):
        return _lines(value, level)
    if isinstance(value, str):
        return ["```text", *value.splitlines(), "```", ""]
    if isinstance(value[0], dict):
        return _table(map(_title, value[0]), [map(_text, row.values()) for row in value])
    return [*(f"* {_text(each)}" for each in value), ""]


def _is_section(value):
    """Whether a value does not fit into a cell: text of several lines, dicts, lists of dicts or of texts."""
    if isinstance(value, list):
        return bool(value) and isinstance(value[0], dict | str)
    return bool(value) and (isinstance(value, dict) or isinstance(value, str) and "\n" in value)


def _table(header, rows):
    header = list(header)
    return [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)] + [""]


def _title(name):
    words = " ".join(_WORDS.get(word, word) for word in name.split("_"))
    return _text(words[:1].upper() + words[1:])


def _text(value):
    if value is None or value in ({}, []):
        return "—"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    if isinstance(value, dict):
        value = json.dumps(value, ensure_ascii=False)
    return html.escape(str(value), quote=False).replace("|", "\\|")
