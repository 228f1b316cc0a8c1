"""Untrusted JSON: read within bounds and checked against a form.

A form says what is expected, in the shape of what is expected:

* `str`, `bool`, `int`, `float`, `None`: a value of that kind. A boolean is not a number; `float` takes integers too;
* `Number(low, high, whole)`: a number between bounds;
* `[form]`: a list of such values; `(form, form)`: a list of exactly these;
* `{str: form}`: an object of any names; `{"name": form, Optional("other"): form}`: an object of these names only, and
  with `...: form` of others too;
* `Either(form, ...)`: one of several; `object`: anything.
"""

import json
import math
import os
import re
from typing import Any, NamedTuple

from tfface.files import read_regular, short_reason

MAX_BYTES = 256 << 20  # Two million names of people take 50 MB.
MAX_INTEGER = (1 << 63) - 1
_MAX_DEPTH = 64
_MAX_SHOWN = 80

_NOT_STRUCTURE = bytes(sorted(set(range(256)) - set(b'"[]{}')))
_STRING = re.compile(rb'"[^"]*"?')
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_KINDS = {str: "a string", bool: "true or false", int: "a whole number", float: "a number", None: "null"}
_TYPES = {str: (str,), bool: (bool,), int: (int,), float: (int, float), None: (type(None),)}


class Number(NamedTuple):
    """The form of a number in [low, high]; of an integer if `whole`."""

    low: float = -math.inf
    high: float = math.inf
    whole: bool = True


class Optional(NamedTuple):
    """The name of a field that may be missing."""

    name: str


class Either:
    """The form of a value that has one of several forms."""

    def __init__(self, *forms):
        self.forms = forms


COUNT = Number(0, MAX_INTEGER)
POSITIVE = Number(1, MAX_INTEGER)


def read(path: str | os.PathLike, form: Any = object, limit: int = MAX_BYTES) -> Any:
    """Reads a file of JSON.

    Args:
      path: of a regular file.
      form: what it must hold; see above.
      limit: the most bytes that it may have.

    Returns:
      The value: dict, list, str, int, float, bool or None.

    Raises:
      ValueError: the file is not regular, too large, no JSON or of another form; the message names file and place.
      OSError: it cannot be read.
    """
    return parse(read_regular(path, limit), path, form)


def parse(data: bytes, name: str | os.PathLike, form: Any = object) -> Any:
    """Reads JSON in UTF-8 as `read` does.

    Args:
      data: the bytes.
      name: what messages call it, such as the path of its file.
      form: what it must hold.

    Returns:
      The value.

    Raises:
      ValueError: it is no JSON within bounds, or of another form.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name}: not JSON in UTF-8 ({error.reason} at byte {error.start}).") from None
    _check_depth(data, name)
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{name}: not JSON ({error.msg} at line {error.lineno}, column {error.colno}).") from None
    except ValueError as error:
        raise ValueError(f"{name}: not JSON that is read here ({short_reason(error)}).") from None
    # In valid UTF-8 only an escape can make one.
    if _SURROGATE.search(data):
        _refuse_surrogates(value, name, "")
    check(value, form, name)
    return value


def check(value: Any, form: Any, name: str | os.PathLike, place: str = "") -> None:
    """Checks that a JSON value has a form.

    Args:
      value: the value.
      form: what it must be.
      name: what messages call the file.
      place: where the value stands in it, such as `shards[3].images`.

    Raises:
      ValueError: it has not; the message names the file, the place, what was expected and what is there.
    """
    if form is object:
        return
    if isinstance(form, Either):
        _check_either(value, form, name, place)
    elif isinstance(form, list) and isinstance(value, list):
        _check_list(value, form[0], name, place)
    elif isinstance(form, tuple) and not isinstance(form, Number):
        if not isinstance(value, list) or len(value) != len(form):
            raise _error(name, place, f"a list of {len(form)}", value)
        for index, (each, its_form) in enumerate(zip(value, form, strict=True)):
            check(each, its_form, name, f"{place}[{index}]")
    elif isinstance(form, dict) and isinstance(value, dict):
        _check_object(value, form, name, place)
    elif not _is_plain(value, form):
        raise _error(name, place, _describe(form), value)


def _is_plain(value, form):
    if isinstance(form, Number):
        types = (int,) if form.whole else (int, float)
        return type(value) in types and form.low <= value <= form.high
    return not isinstance(form, list | dict) and type(value) in _TYPES[form]


def _check_list(values, form, name, place):
    # The names of a large dataset: millions of strings, at once.
    if isinstance(form, type) and form in _TYPES and set(map(type, values)) <= set(_TYPES[form]):
        return
    for index, value in enumerate(values):
        check(value, form, name, f"{place}[{index}]")


def _check_object(value, form, name, place):
    if str in form:
        _check_values(value, form[str], name, place)
        return
    names = {key.name if isinstance(key, Optional) else key: key for key in form}
    for key in form:
        if isinstance(key, str) and key not in value:
            raise _error(name, place, f"an object with {key!r}", value)
    for key, each in value.items():
        its_form = form[names[key]] if key in names else form.get(..., None)
        if key not in names and ... not in form:
            expected = ", ".join(sorted(one for one in names if isinstance(one, str)))
            raise ValueError(f"{name}: {_where(place)}expected {expected} only, got {_show(key)}.")
        check(each, its_form, name, _field(place, key))


def _check_values(value, form, name, place):
    if isinstance(form, type) and form in _TYPES and set(map(type, value.values())) <= set(_TYPES[form]):
        return
    for key, each in value.items():
        check(each, form, name, _field(place, key))


def _check_either(value, form, name, place):
    for one in form.forms:
        # The message describes the fault within the form that is meant.
        if isinstance(one, list | dict) and type(value) is type(one):
            check(value, one, name, place)
            return
        try:
            check(value, one, name, place)
            return
        except ValueError:
            continue
    raise _error(name, place, _describe(form), value)


def _describe(form):
    if isinstance(form, Either):
        return " or ".join(map(_describe, form.forms))
    if isinstance(form, Number):
        kind = "a whole number" if form.whole else "a number"
        low, high = math.isfinite(form.low), form.high not in (math.inf, MAX_INTEGER)
        bounds = f" from {form.low} to {form.high}" if low and high else f" of at least {form.low}" if low else ""
        return kind + (bounds or (f" of at most {form.high}" if high else ""))
    if isinstance(form, tuple):
        return f"a list of {len(form)}"
    return "a list" if isinstance(form, list) else "an object" if isinstance(form, dict) else _KINDS[form]


def _error(name, place, expected, value):
    return ValueError(f"{name}: {_where(place)}expected {expected}, got {_show(value)}.")


def _show(value):
    if isinstance(value, dict):
        return f"an object of {len(value)} fields"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    text = json.dumps(value[:_MAX_SHOWN] if isinstance(value, str) else value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def _where(place):
    return f"{place}: " if place else ""


def _field(place, key):
    key = key if key.isidentifier() and len(key) <= _MAX_SHOWN else f"[{_show(key)}]"
    return f"{place}.{key}" if place and not key.startswith("[") else f"{place}{key}"


def _check_depth(data, name):
    """Raises ValueError for brackets nested so deeply that a recursive reader could run out of stack."""
    if b"\\" in data:
        data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    # A pair of quotes that meet may be taken out even between two strings: what stays inside, stays inside.
    brackets = _STRING.sub(b"", data.translate(None, _NOT_STRUCTURE).replace(b'""', b""))
    for _ in range(_MAX_DEPTH):
        # Each round takes out the innermost level.
        rest = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if len(rest) == len(brackets):
            break
        brackets = rest
    # The rest of a truncated file is at most as long as it is deep; the parser names the fault.
    if len(brackets) > _MAX_DEPTH:
        raise ValueError(f"{name}: not JSON that is read here (nested more than {_MAX_DEPTH} deep, or unbalanced).")


def _refuse_surrogates(value, name, place):
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{name}: {_where(place)}half a character ({_show(value)}), which is not text.") from None
    elif isinstance(value, list):
        for index, each in enumerate(value):
            _refuse_surrogates(each, name, f"{place}[{index}]")
    elif isinstance(value, dict):
        for key, each in value.items():
            _refuse_surrogates(key, name, place)
            _refuse_surrogates(each, name, _field(place, key))


def _integer(text):
    if len(text) > 20 or abs(int(text)) > MAX_INTEGER:
        raise ValueError(f"an integer of more than 64 bits, {text[:_MAX_SHOWN]}")
    return int(text)


def _float(text):
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"a number that is too large, {text[:_MAX_SHOWN]}")
    return value


def _constant(text):
    raise ValueError(f"{text} is not a number")


def _unique(pairs):
    found = dict(pairs)
    if len(found) < len(pairs):
        seen = set()
        key = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise ValueError(f"the name {_show(key)} occurs twice in an object")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_float, parse_int=_integer, parse_constant=_constant)
