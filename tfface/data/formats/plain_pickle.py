"""Safe reader of pickles that hold only lists, bytes, booleans and integers, also those of NumPy.

Python's `pickle` executes code that the author of a file chose. This reader imports and calls nothing: it knows the
operations that build plain data, in all protocols, and refuses every other one. Some plain data are written as calls:
bytes in protocols 0 to 2 of Python 3, and the booleans and arrays of NumPy. A few names of functions are therefore
known as words; what a call of them means is read from its arguments, which are data. Bytes are located without being
read, so that images stay in the file until needed.
"""

import codecs
import pickletools
from typing import Any, BinaryIO, NamedTuple

# This bounds the memory, because each operation makes at most one small object.
_MAX_OPERATIONS = 1 << 21
_MAX_PROTOCOL = 5
_NAMES = {ord(operation.code): operation.name for operation in pickletools.opcodes}
# Size of the length field before the bytes.
_BYTES = {
    "SHORT_BINSTRING": 1,
    "BINSTRING": 4,
    "SHORT_BINBYTES": 1,
    "BINBYTES": 4,
    "BINBYTES8": 8,
    "BYTEARRAY8": 8,
}
_TEXTS = {"SHORT_BINUNICODE": 1, "BINUNICODE": 4, "BINUNICODE8": 8}
_INTEGERS = {"BININT1": 1, "BININT2": 2, "BININT": 4}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


# The functions whose calls are read as data, by the names that versions of Python and NumPy write.
_WORDS = {
    "_codecs encode": "encode",
    "__builtin__ bytes": "bytes",
    "builtins bytes": "bytes",
    "numpy dtype": "dtype",
    "numpy ndarray": "ndarray",
    **{f"numpy.{core}.multiarray {name}": name for core in ("core", "_core") for name in ("scalar", "_reconstruct")},
    **{f"numpy.{core}.numeric _frombuffer": "_frombuffer" for core in ("core", "_core")},
}
_MAX_LINE = 1 << 28  # An image of 64 MB, with every byte written as four.
_MAX_WORD = 64


class Span(NamedTuple):
    """Position of bytes that are still in the file.

    Args:
      offset: of the first byte in the file.
      length: number of bytes in the file.
      coding: how they are written: "" as they are, "utf-8" or "raw-unicode-escape" as text of Latin-1, "escape" as a
        literal of Python 2.
    """

    offset: int
    length: int
    coding: str = ""

    def decode(self, data: bytes) -> bytes:
        """Returns the bytes that are meant by those in the file; raises ValueError if they are malformed."""
        if self.coding == "escape":
            return codecs.escape_decode(data)[0]
        return data.decode(self.coding).encode("latin-1") if self.coding else data


class _Text(NamedTuple):
    span: Span


class _Word(NamedTuple):
    name: str


class _Dtype(NamedTuple):
    name: str


class _Array(list):
    """A one-dimensional array of booleans, filled by BUILD."""


def load_plain(file: BinaryIO, size: int) -> Any:
    """Reads a pickle of plain data.

    Args:
      file: binary file object, at its start.
      size: size of the file in bytes.

    Returns:
      Nested lists of `Span`s (for bytes), booleans and integers; tuples become lists.

    Raises:
      ValueError: if it is not a pickle or holds anything else; the message is a reason without the name of the file.
    """
    try:
        return _run(file, size)
    except (AttributeError, IndexError, KeyError, TypeError, UnicodeError):
        # The stack is empty or holds something else, or the memo has no entry.
        raise ValueError(f"the pickle is damaged before byte {file.tell()}") from None


def _run(file, size):
    stack, marks, memo = [], [], {}
    budget = _MAX_OPERATIONS

    def number(count):
        data = file.read(count)
        if len(data) < count:
            raise ValueError(f"the pickle ends at byte {size}, unfinished")
        return int.from_bytes(data, "little")

    def cut(start):
        values = stack[start:]
        del stack[start:]
        return values

    def span(length, coding=""):
        found = Span(file.tell(), length, coding)
        if found.offset + length > size:
            raise ValueError(f"{length} bytes at byte {found.offset} go beyond the end of the file at {size}")
        file.seek(length, 1)
        return found

    def line():
        start, data = file.tell(), file.readline(_MAX_LINE)
        if not data.endswith(b"\n"):
            raise ValueError(f"the pickle ends at byte {size}, unfinished, or a line in it is too long")
        return start, data[:-1]

    def whole(data):
        if not data.lstrip(b"-").isdigit() or len(data) > _MAX_WORD:
            raise IndexError
        return int(data)

    def bytes_of(value):
        """Returns the content of bytes or text that are needed to understand the pickle."""
        nonlocal budget
        found, end = value.span if isinstance(value, _Text) else value, file.tell()
        if not isinstance(found, Span):
            raise TypeError
        # A small file may refer to the same bytes again and again.
        budget -= found.length
        if budget < 0:
            raise ValueError(f"more than {_MAX_OPERATIONS} bytes of words and arrays")
        file.seek(found.offset)
        data = found.decode(file.read(found.length))
        file.seek(end)
        return data

    def refused(name, start):
        return ValueError(
            f"operation {name or 'unknown'} at byte {start} is refused: only lists of bytes, booleans and integers are "
            "read, and nothing is executed"
        )

    def word(name, start, operation):
        if name not in _WORDS:
            raise refused(operation, start)
        return _Word(_WORDS[name])

    def booleans(dtype, data, count):
        if dtype.name not in ("b1", "|b1", "?", "bool") or len(data) != count or data.strip(b"\0\1"):
            raise ValueError("expected an array of booleans, got another one")
        return [one == 1 for one in data]

    def call(name, arguments):
        """Returns the plain data that a call stands for."""
        match name, arguments:
            case "encode", [_Text(text), _Text() as coding] if bytes_of(coding).replace(b"-", b"") == b"latin1":
                return text
            case "bytes", []:
                return Span(0, 0)
            case "dtype", [value, *_]:
                return _Dtype(bytes_of(value).decode("latin-1"))
            case "scalar", [_Dtype() as dtype, value]:
                return booleans(dtype, bytes_of(value), 1)[0]
            case "_reconstruct", [_Word("ndarray"), _, _]:
                return _Array()
            case "_frombuffer", [value, _Dtype() as dtype, [int() as count], _]:
                return _Array(booleans(dtype, bytes_of(value), count))
        raise TypeError

    for _ in range(_MAX_OPERATIONS):
        start = file.tell()
        match _NAMES.get(number(1)):
            case "STOP":
                return stack.pop()
            case "PROTO":
                if number(1) > _MAX_PROTOCOL:
                    raise ValueError(f"its protocol is above {_MAX_PROTOCOL}, or it is not a pickle")
            case "FRAME":
                number(8)
            case "MARK":
                marks.append(len(stack))
            case "EMPTY_LIST" | "EMPTY_TUPLE":
                stack.append([])
            case "LIST" | "TUPLE":
                stack.append(cut(marks.pop()))
            case name if name in _TUPLES:
                if len(stack) < _TUPLES[name]:
                    raise IndexError
                stack.append(cut(len(stack) - _TUPLES[name]))
            case "APPEND":
                value = stack.pop()
                stack[-1].append(value)
            case "APPENDS":
                values = cut(marks.pop())
                stack[-1].extend(values)
            case "NEWTRUE":
                stack.append(True)
            case "NEWFALSE":
                stack.append(False)
            case name if name in _INTEGERS:
                stack.append(number(_INTEGERS[name]))
            case name if name in _BYTES:
                stack.append(span(number(_BYTES[name])))
            case name if name in _TEXTS:
                stack.append(_Text(span(number(_TEXTS[name]), "utf-8")))
            case "STRING":
                begin, data = line()
                if len(data) < 2 or data[0] != data[-1] or data[:1] not in (b"'", b'"'):
                    raise IndexError
                stack.append(Span(begin + 1, len(data) - 2, "escape"))
            case "UNICODE":
                begin, data = line()
                stack.append(_Text(Span(begin, len(data), "raw-unicode-escape")))
            case "INT" | "LONG" as name:
                data = line()[1].removesuffix(b"L")
                stack.append(data == b"01" if data in (b"00", b"01") else whole(data))
            case "NONE":
                stack.append(None)
            case "GLOBAL":
                stack.append(word(b" ".join((line()[1], line()[1])).decode("latin-1"), start, "GLOBAL"))
            case "STACK_GLOBAL":
                attribute, module = stack.pop(), stack.pop()
                known = all(isinstance(one, _Text) and one.span.length <= _MAX_WORD for one in (module, attribute))
                name = b" ".join(map(bytes_of, (module, attribute))).decode("latin-1") if known else ""
                stack.append(word(name, start, "STACK_GLOBAL"))
            case "REDUCE":
                arguments, function = stack.pop(), stack.pop()
                stack.append(call(function.name, arguments))
            case "BUILD":
                state, target = stack.pop(), stack[-1]
                if isinstance(target, _Array) and not target:
                    _, (count,), dtype, _, data = state
                    target.extend(booleans(dtype, bytes_of(data), count))
                elif not isinstance(target, _Dtype):
                    raise TypeError
            case "PUT":
                memo[whole(line()[1])] = stack[-1]
            case "GET":
                stack.append(memo[whole(line()[1])])
            case "BINPUT":
                memo[number(1)] = stack[-1]
            case "LONG_BINPUT":
                memo[number(4)] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINGET":
                stack.append(memo[number(1)])
            case "LONG_BINGET":
                stack.append(memo[number(4)])
            case name:
                raise refused(name, start)
    raise ValueError(f"more than {_MAX_OPERATIONS} operations")
