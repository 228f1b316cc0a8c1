"""Arrays in .npy and .npz: NumPy's own reading is the oracle for good files, and false claims are refused unread."""

import os
import resource
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from tfface import npz_files

ARRAYS = {
    "float": np.linspace(-1, 1, 24, dtype=np.float32).reshape(2, 3, 4),
    "fortran": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "big": np.arange(5, dtype=">i8"),
    "scalar": np.array(3),
    "empty": np.zeros((0, 512), np.float32),
    "names": np.array(["é", "longer", "\U0001f600"]),
    "nobody": np.array([], dtype="U7"),
    "bytes": np.array([b"a", b"bc"]),
    "truth": np.array([True, False]),
    "foreign": np.array(["é", "b"], dtype=">U1"),
}


def header(shape, descr="<f4", fortran="False"):
    text = f"{{'descr': {descr!r}, 'fortran_order': {fortran}, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text


def test_reads_what_numpy_reads(tmp_path):
    path = tmp_path / "a.npz"
    for save in (np.savez, np.savez_compressed):
        save(path, **ARRAYS)
        found = npz_files.read_npz(path)
        with np.load(path) as expected:
            assert set(found) == set(expected.files)
            for name, array in found.items():
                np.testing.assert_array_equal(array, expected[name], strict=True)
    for array in ARRAYS.values():
        np.save(tmp_path / "a.npy", array)
        np.testing.assert_array_equal(npz_files.read_npy(tmp_path / "a.npy"), array, strict=True)


CLAIMS = [
    (header((10**11, 512)) + bytes(64), "claims .* but 64 are there"),
    (header((2**62, 2**62, 4)) + bytes(64), "claims"),
    (header((15,)) + bytes(64), "claims"),
    (header((17,)) + bytes(64), "claims"),
    (header((-4,)) + bytes(64), "sizes of dimensions|no header"),
    (header("(True, 16)") + bytes(64), "sizes of dimensions|no header"),
    (header((16,), "|O") + bytes(64), "expected booleans, numbers or strings"),
    (header((1,), "|V64") + bytes(64), "expected booleans, numbers or strings"),
    (header((10**11,), "<U0"), "expected booleans, numbers or strings"),
    (header((1,), "<U1") + b"\xff" * 4, "not characters"),
    (b"\x93NUMPY\1\0" + struct.pack("<H", 9000) + b"(" * 9000, "no header of NumPy"),
    (b"\x93NUMPY\2\0" + struct.pack("<I", 2**31), "no header of NumPy"),
    (b"\x93NUMPY\7\0", "no header of NumPy"),
    (b"", "no header of NumPy"),
    (b"PK", "no header of NumPy"),
]


@pytest.mark.parametrize(("data", "message"), CLAIMS)
def test_false_claims_are_refused_by_name(tmp_path, data, message):
    (tmp_path / "a.npy").write_bytes(data)
    with pytest.raises(ValueError, match=rf"a\.npy: the array.*({message})"):
        npz_files.read_npy(tmp_path / "a.npy")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("vectors.npy", data)
    with pytest.raises(ValueError, match=rf"a\.npz: array 'vectors'.*({message})"):
        npz_files.read_npz(tmp_path / "a.npz")


def test_archives_that_are_none_are_refused_by_name(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, a=np.arange(100))
    good = path.read_bytes()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", b"")
    other = path.read_bytes()
    for data, message in (
        (b"", "not a zip archive"),
        (good[:-30], "not a zip archive"),
        (other, "expected arrays of different names, got 'a.txt'"),
        (good.replace(bytes([7, 0, 0, 0, 0, 0, 0, 0]), b"\7" * 8), "array 'a' is damaged"),
    ):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=rf"a\.npz: .*{message}"):
            npz_files.read_npz(path)
    os.mkfifo(tmp_path / "fifo")
    for place in (tmp_path / "fifo", "/dev/zero", tmp_path):
        for read in (npz_files.read_npz, npz_files.read_npy):
            with pytest.raises(ValueError, match="not a regular file"):
                read(place)


def test_a_zip_bomb_is_refused_before_it_needs_memory(tmp_path):
    with (
        zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("vectors.npy", "w", force_zip64=True) as member,
    ):
        member.write(header((2**28,)))
        for _ in range(1 << 10):
            member.write(bytes(1 << 20))
    assert (tmp_path / "a.npz").stat().st_size < 2 << 20
    code = f"from tfface.npz_files import read_npz\nread_npz({str(tmp_path / 'a.npz')!r})"
    limit = 900 << 20
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    assert done.stderr.splitlines()[-1].startswith("tfface.files.Unreadable: ") and "claims 1073" in done.stderr
