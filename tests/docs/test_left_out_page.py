"""docs/left_out.md names every reason for which an image is left out, and docs/serving.md every error of the client."""

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = ROOT / "tfface" / "data"
# Modules whose reasons are those of single images and entries; other modules refuse whole files.
MODULES = (
    *("formats/image_files", "formats/landmarks", "formats/recordio", "formats/text_lists", "formats/tfrecord_files"),
    *("images/decoding", "images/detection", "conversion/plan", "conversion/convert", "checked_records"),
    *("sources/aligned_source", "sources/folders", "sources/image_lists", "sources/insightface_bin"),
    *("sources/recordio_source", "sources/records_source", "sources/tfrecord_source", "sources/zip_folders"),
    "../files",
)
CONSTANTS = ("BAD_NAME", "NO_IMAGES", "NOT_IN_FOLDER", "WRONG_DATA")
# Functions in them that refuse a whole file or an argument.
OF_WHOLE = {
    *("_check", "_check_fields", "_check_outputs", "_decompress", "_mtcnn", "_not_utf8", "_split", "convert"),
    *("_describe", "convert_folder", "malformed", "read_lines", "split_identities", "where"),
}


def _pattern(node):
    """The regular expression of a text or of a formatted text, None for anything else or a text that is computed."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.escape(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(re.escape(part.value) if isinstance(part, ast.Constant) else ".+" for part in node.values)
    return None


def _texts(function):
    """The patterns of the reasons that a function raises, rejects or returns."""
    for node in ast.walk(function):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            if getattr(node.exc.func, "id", "") == "ValueError" and node.exc.args:
                yield _pattern(node.exc.args[0])
        elif isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name == "reject":
                yield _pattern(node.args[1])
            elif name == "append" and isinstance(node.args[0], ast.Tuple) and len(node.args[0].elts) == 2:
                yield _pattern(node.args[0].elts[1])
            elif name in ("BadRecord", "Unreadable"):
                yield _pattern(node.args[{"BadRecord": 3, "Unreadable": 1}[name]])
        elif isinstance(node, ast.ListComp) and isinstance(node.elt, ast.Tuple) and len(node.elt.elts) == 2:
            yield _pattern(node.elt.elts[1])


def reasons():
    """dict from pattern to the place of each reason in the code."""
    found = {}
    for module in MODULES:
        tree = ast.parse((DATA / f"{module}.py").read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.name not in OF_WHOLE:
                texts = [*_texts(node)]
                if node.name == "_fault":
                    texts += [_pattern(each.value) for each in ast.walk(node) if isinstance(each, ast.Return)]
            elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in CONSTANTS:
                texts = [_pattern(node.value)]
            else:
                continue
            # Texts with full stops are whole sentences, which stop a program; backquotes enclose arguments.
            found |= {text: f"{module}.{getattr(node, 'name', '')}" for text in texts if text and _is_reason(text)}
    return found


def _is_reason(pattern):
    words = re.search("[a-z]{3}", pattern)
    return bool(words) and not pattern.endswith(r"\.") and not pattern.startswith("`")


def rows():
    text = (ROOT / "docs" / "left_out.md").read_text(encoding="utf-8").partition("## Reasons")[2]
    return re.findall(r"^\| `(.+?)` \| ", text, re.MULTILINE)


def test_every_reason_of_the_code_is_on_the_page():
    found, written = reasons(), rows()
    assert len(found) > 40
    absent = {text: place for text, place in found.items() if not any(re.fullmatch(text, row) for row in written)}
    assert not absent


def test_every_reason_of_the_page_is_in_the_code():
    found = reasons()
    assert [row for row in rows() if not any(re.fullmatch(text, row) for text in found)] == []


@pytest.mark.parametrize("reason", ["a .bmp picture; only JPEG and PNG are read", "no images of this identity"])
def test_reasons_are_found_in_the_code(reason):
    assert any(re.fullmatch(text, reason) for text in reasons())


def errors_of_the_client():
    """The patterns of what the client raises in words of its own."""
    for path in sorted((ROOT / "tfface" / "serving").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("ServerError", "Unavailable")):
                continue
            text = node.args[0]
            if isinstance(text, ast.Call) and getattr(text.func, "attr", "") == "say":
                text = text.args[0]
            if (pattern := _pattern(text)) and re.search("[a-z]{3}", pattern):
                yield pattern


def test_every_error_of_the_client_is_in_the_table():
    text = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8").partition("## Errors")[2].partition("\n## ")[0]
    cells = re.findall(r"`(.+?)`", text)
    patterns = set(errors_of_the_client())
    assert len(patterns) > 12
    absent = [pattern for pattern in patterns if not any(re.search(pattern, cell) for cell in cells)]
    assert absent == []
