"""The model card beside an export: what it is, for programs as JSON and for people as Markdown."""

import html
import json
import pathlib

from tfface import files


def write_card(card, export):
    """Writes the card of an export, as JSON and as Markdown; equal cards give equal bytes.

    Args:
      card: dict of JSON values. Its values, by the names of the Markdown's sections, are dicts, lists or single values.
      export: SavedModel folder, which then holds `assets.extra/model_card.json` and `.md`; or a file, beside which
        `NAME.card.json` and `NAME.card.md` are made.

    Raises:
      ValueError: the card holds something else than JSON values.
    """
    try:
        text = json.dumps(card, indent=1, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"`card` must hold JSON values, got {card!r} ({error}).") from None
    for path, content in zip(card_files(export), (text + "\n", to_markdown(card)), strict=True):
        files.write_atomically(path, content.encode())


def card_files(export):
    """Returns the paths (JSON, Markdown) of an export's card; a folder is a SavedModel."""
    export = pathlib.Path(export)
    if export.is_dir():
        return export / "assets.extra" / "model_card.json", export / "assets.extra" / "model_card.md"
    return export.with_name(f"{export.name}.card.json"), export.with_name(f"{export.name}.card.md")


def to_markdown(card):
    """Formats a card for people, str: a section for each of its values, tables for dicts and lists of dicts."""
    return "\n".join(["# Model card", "", *_sections(card, 2)])


def _sections(values, level):
    """Lines of a dict: first a table of its plain values, then a section for each of the others."""
    plain = {name: value for name, value in values.items() if not _is_section(value)}
    lines = _table(["", ""], [[_title(name), _text(value)] for name, value in plain.items()]) if plain else []
    for name in values.keys() - plain.keys() and [name for name in values if name not in plain]:
        value = values[name]
        lines += [f"{'#' * level} {_title(name)}", ""]
        if isinstance(value, dict):
            lines += _sections(value, level + 1)
        elif isinstance(value, str):
            lines += ["```text", *value.splitlines(), "```", ""]
        elif isinstance(value[0], dict):
            lines += _table(map(_title, value[0]), [map(_text, row.values()) for row in value])
        else:
            lines += [*(f"* {_text(each)}" for each in value), ""]
    return lines


def _is_section(value):
    return bool(value) and (isinstance(value, dict | list) or isinstance(value, str) and "\n" in value)


def _table(header, rows):
    header = list(header)
    lines = [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)]
    return [*lines, ""]


def _title(name):
    return _text(name.replace("_", " "))


def _text(value):
    if value is None or value in ({}, []):
        return "not known" if value is None else "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict | list):
        value = json.dumps(value, ensure_ascii=False)
    return html.escape(str(value), quote=False).replace("|", "\\|")
