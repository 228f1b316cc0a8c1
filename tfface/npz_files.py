"""Untrusted NumPy files, .npy and .npz: sizes are checked before memory is reserved."""

import math
import os

import numpy as np

from tfface.files import Unreadable, open_regular, short_reason
from tfface.zip_files import DAMAGED, open_archive

_MAX_MEMBERS = 1000
_KINDS = "biufUS"
_MAX_DIMENSIONS = 32
_BLOCK = 1 << 20


def read_npy(path: str | os.PathLike) -> np.ndarray:
    """Reads one array.

    Args:
      path: of a regular file as `np.save` writes it.

    Returns:
      Array of booleans, numbers or strings.

    Raises:
      ValueError: the file holds anything else, or less than it claims; the message names the file.
      OSError: it cannot be read.
    """
    with open_regular(path) as file:
        return _read(path, "the array", file, os.fstat(file.fileno()).st_size)


def read_npz(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads the arrays of an archive; never unpickles.

    Args:
      path: of a regular file as `np.savez` or `np.savez_compressed` writes it.

    Returns:
      Dict from name to array of booleans, numbers or strings.

    Raises:
      ValueError: the file is not an archive, or a member is not an array or has not the size that it claims; the
        message names the file.
      OSError: it cannot be read.
    """
    with open_regular(path) as file, open_archive(path, file) as archive:
        arrays: dict[str, np.ndarray] = {}
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            if name == info.filename or name in arrays or len(arrays) == _MAX_MEMBERS:
                raise Unreadable(path, f"expected arrays of different names, got {info.filename[:200]!r}")
            try:
                with archive.open(info) as member:
                    arrays[name] = _read(path, f"array {name[:200]!r}", member, info.file_size)
            except Unreadable:
                raise
            except (*DAMAGED, ValueError, OSError) as error:
                raise Unreadable(path, f"array {name[:200]!r} is damaged ({short_reason(error)})") from error
        return arrays


def _read(path, what, file, size):
    """Reads an array from `file`, which holds `size` bytes."""
    try:
        version = np.lib.format.read_magic(file)
        header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, fortran_order, dtype = header(file)
    except (*DAMAGED, OSError):
        raise
    # The header is parsed as Python's literals, which fail in many ways.
    except Exception as error:
        raise Unreadable(path, f"{what} has no header of NumPy ({type(error).__name__})") from None
    if dtype.kind not in _KINDS or not dtype.itemsize:
        raise Unreadable(path, f"{what}: expected booleans, numbers or strings, got {str(dtype)[:200]}")
    if len(shape) > _MAX_DIMENSIONS or not all(type(side) is int and side >= 0 for side in shape):
        raise Unreadable(path, f"{what}: expected sizes of dimensions, got {str(shape)[:200]}")
    expected = math.prod(shape) * dtype.itemsize
    if expected != size - file.tell():
        raise Unreadable(
            path, f"{what} claims {str(shape)[:200]} {dtype}, {expected} bytes, but {size - file.tell()} are there"
        )
    data, count = np.empty(expected, np.uint8), 0
    while block := file.read(min(_BLOCK, expected - count + 1)):
        if count + len(block) > expected:
            break
        data[count : count + len(block)] = np.frombuffer(block, np.uint8)
        count += len(block)
    # A member that is read to its end has been checked against its checksum.
    if count < expected or block:
        raise Unreadable(path, f"{what} has not the {expected} bytes that it claims")
    array = data.view(dtype)
    if dtype.kind == "b":
        array = array.view(np.uint8) != 0  # Other bytes than 0 and 1 are not booleans.
    if dtype.kind == "U" and array.size and array.view(_code_points(dtype)).max() > 0x10FFFF:
        raise Unreadable(path, f"{what} holds numbers that are not characters")
    return array.reshape(shape, order="F" if fortran_order else "C")


def _code_points(dtype):
    return np.dtype(np.uint32).newbyteorder(dtype.byteorder)
