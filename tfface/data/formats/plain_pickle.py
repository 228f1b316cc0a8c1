"""Safe reader of pickles that hold only lists, bytes, booleans and integers.

Python's `pickle` executes code that the author of a file chose. This reader knows only the operations that build plain
data, as Python 2 and 3 write them in protocols 2 to 5, and none that imports, calls or changes an object. It refuses a
pickle with any other operation. It locates bytes without reading them, so that images stay in the file until needed.
"""

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
_INTEGERS = {"BININT1": 1, "BININT2": 2, "BININT": 4}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class Span(NamedTuple):
    """Position of bytes that are still in the file."""

    offset: int
    length: int


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
    except (AttributeError, IndexError, KeyError):  # The stack is empty or holds no list, or the memo has no entry.
        raise ValueError(f"the pickle is damaged before byte {file.tell()}") from None


def _run(file, size):
    stack, marks, memo = [], [], {}

    def number(count):
        data = file.read(count)
        if len(data) < count:
            raise ValueError(f"the pickle ends at byte {size}, unfinished")
        return int.from_bytes(data, "little")

    def cut(start):
        values = stack[start:]
        del stack[start:]
        return values

    for _ in range(_MAX_OPERATIONS):
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
                span = Span(file.tell() + _BYTES[name], number(_BYTES[name]))
                if span.offset + span.length > size:
                    raise ValueError(
                        f"{span.length} bytes at byte {span.offset} go beyond the end of the file at {size}"
                    )
                stack.append(span)
                file.seek(span.offset + span.length)
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
                raise ValueError(
                    f"operation {name or 'unknown'} at byte {file.tell() - 1} is refused: only lists of bytes, "
                    "booleans and integers are read, and nothing is executed"
                )
    raise ValueError(f"more than {_MAX_OPERATIONS} operations")
