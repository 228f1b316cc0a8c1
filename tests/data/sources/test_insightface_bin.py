"""`.bin` sets: pickles of plain data are read, and everything else is refused and never executed."""

import io
import os
import pickle
import struct

import numpy as np
import pytest

from tfface.data.formats import plain_pickle
from tfface.data.formats.plain_pickle import load_plain
from tfface.data.sources.insightface_bin import BinSource

JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"


def images_and_same(pairs=24, seed=0):
    rng = np.random.default_rng(seed)
    images = [(JPEG, PNG)[number % 3 == 0] + rng.bytes(int(rng.integers(1, 600))) for number in range(2 * pairs)]
    return images, [number // 3 % 2 == 0 for number in range(pairs)]


def python_2_pickle(images, same):
    """The operations that Python 2's cPickle wrote for (list of str, list of bool) in protocol 2."""
    memo = iter(range(1 << 20))

    def put():
        number = next(memo)
        return b"q" + bytes([number]) if number < 256 else b"r" + struct.pack("<I", number)

    def string(data):
        return (b"U" + bytes([len(data)]) if len(data) < 256 else b"T" + struct.pack("<i", len(data))) + data + put()

    first = b"]" + put() + b"(" + b"".join(map(string, images)) + b"e"
    return b"\x80\x02" + first + b"]" + put() + b"(" + b"".join(b"\x89\x88"[one : one + 1] for one in same) + b"e\x86."


@pytest.mark.parametrize("protocol", [3, 4, 5, "python 2"])
@pytest.mark.parametrize("kind", [bool, int])
def test_pickled_set_is_read(tmp_path, protocol, kind):
    images, same = images_and_same()
    path = tmp_path / "lfw.bin"
    if protocol == "python 2":
        path.write_bytes(python_2_pickle(images, same))
    else:
        path.write_bytes(pickle.dumps((images, list(map(kind, same))), protocol))
    assert pickle.loads(path.read_bytes(), encoding="bytes")[0] == images
    source = BinSource(path)
    items, pairs = list(source.items()), source.pairs()
    assert [source.read(item) for item in items] == images
    assert [item.key for item in items] == [f"{n:06d}{('.jpg', '.png')[n % 3 == 0]}" for n in range(48)]
    assert pairs.left.tolist() == [item.key for item in items[::2]]
    assert pairs.right.tolist() == [item.key for item in items[1::2]]
    assert pairs.same.tolist() == same
    together = [one.identity == other.identity for one, other in zip(items[::2], items[1::2], strict=True)]
    assert together == same
    assert len({item.identity for item in items}) == 48 - sum(same)
    for mask in (pairs.same, ~pairs.same):
        assert pairs.fold[mask].tolist() == [number * 10 // 12 for number in range(12)]


def read(path):
    source = BinSource(path)
    return [source.read(item) for item in source.items()], source.pairs().same.tolist()


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "kind",
    [
        list,
        np.array,
        lambda same: list(np.array(same)),
        lambda same: list(map(int, same)),
        lambda same: np.frombuffer(np.array(same).tobytes(), bool),
    ],
    ids=["bool", "array", "numpy bool", "int", "readonly array"],
)
def test_every_protocol_and_the_booleans_of_numpy(tmp_path, protocol, kind):
    images, same = images_and_same()
    images[1] = JPEG + bytes(range(256)) * 2  # Every byte, and so every escape of the text protocols.
    (tmp_path / "a.bin").write_bytes(pickle.dumps((images, kind(same)), protocol))
    assert read(tmp_path / "a.bin") == (images, same)


def test_text_protocol_of_python_2(tmp_path):
    images, same = images_and_same()
    images[0] = JPEG + bytes(range(256))

    def items(lines):
        return b"(lp0\n" + b"".join(line + b"\na" for line in lines)

    strings = [b"S" + repr(image)[1:].encode() for image in images]
    data = b"(" + items(strings) + items([b"I01" if one else b"I00" for one in same]) + b"t."
    assert pickle.loads(data, encoding="bytes") == (images, same)
    (tmp_path / "a.bin").write_bytes(data)
    assert read(tmp_path / "a.bin") == (images, same)


@pytest.mark.parametrize(("genuine", "impostor", "folds"), [(749, 0, 10), (0, 30, 10), (40, 3, 3), (2, 1, 1)])
def test_sets_with_few_pairs_of_a_kind_are_read(tmp_path, genuine, impostor, folds):
    images, same = [JPEG] * 2 * (genuine + impostor), [True] * genuine + [False] * impostor
    (tmp_path / "a.bin").write_bytes(pickle.dumps((images, same), 4))
    pairs = BinSource(tmp_path / "a.bin").pairs()
    assert pairs.same.tolist() == same
    assert sorted(set(pairs.fold.tolist())) == list(range(folds))


@pytest.mark.parametrize(
    "name", ["os system", "builtins eval", "numpy load", "numpy.core.multiarray fromfile", "_codecs decode"]
)
def test_no_other_function_is_known(tmp_path, name):
    (tmp_path / "a.bin").write_bytes(b"c" + name.replace(" ", "\n").encode() + b"\n(t\x85R.")
    with pytest.raises(ValueError, match="operation GLOBAL at byte 0 is refused"):
        read(tmp_path / "a.bin")


def test_arrays_are_bounded_together():
    """A small file may refer to one large array of bytes many times."""
    one = pickle.dumps(np.zeros(1 << 20, bool), 4)[2:-1]
    data = b"\x80\x04(" + b"".join([one] * 3) + b"l."
    with pytest.raises(ValueError, match="more than 2097152 bytes of words and arrays"):
        load_plain(io.BytesIO(data), len(data))


def test_large_sets_and_shared_images(tmp_path):
    """Lists are pickled in batches of a thousand, and repeated objects as references."""
    images, same = images_and_same(1500)
    images = images[:2000] + images[:1000]
    for protocol in (3, 4, 5):
        (tmp_path / "a.bin").write_bytes(pickle.dumps([images, same], protocol))
        source = BinSource(tmp_path / "a.bin")
        assert [source.read(item) for item in source.items()] == images


@pytest.mark.parametrize(
    "value",
    [
        [],
        [b"", b"a" * 255, b"b" * 256, b"c" * 70_000],
        [[True, False], 0, 255, 65535, 7 << 20],
        ((), (b"x",), (1, 2, 3)),
    ],
)
@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_plain_values_are_those_of_pickle(value, protocol):
    data = pickle.dumps(value, protocol)

    def filled(loaded):
        if isinstance(loaded, plain_pickle.Span):
            return data[loaded.offset : loaded.offset + loaded.length]
        return list(map(filled, loaded)) if isinstance(loaded, list) else loaded

    def lists(one):
        return list(map(lists, one)) if isinstance(one, (list, tuple)) else one

    assert filled(load_plain(io.BytesIO(data), len(data))) == lists(value)


class Bomb:
    """Makes a folder when Python unpickles it."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("place", ["whole", "image", "boolean", "behind"])
def test_bomb_is_refused_and_does_not_go_off(tmp_path, protocol, place):
    images, same = images_and_same()
    bomb = Bomb(tmp_path / "gone off")
    value = {
        "whole": bomb,
        "image": (images[:-1] + [bomb], same),
        "boolean": (images, same[:-1] + [bomb]),
        "behind": (images, same, bomb),
    }[place]
    data = pickle.dumps(value, protocol)
    (tmp_path / "a.bin").write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.bin: operation [A-Z_]+ at byte \d+ is refused"):
        list(BinSource(tmp_path / "a.bin").items())
    assert not bomb.folder.exists()
    if protocol == 5:  # Python's pickle does run the bomb.
        pickle.loads(data)
        assert bomb.folder.exists()


def test_every_operation_that_runs_or_looks_up_something_is_unknown():
    known = {"PROTO", "FRAME", "MARK", "STOP", "APPEND", "APPENDS", "EMPTY_LIST", "EMPTY_TUPLE", "LIST", "TUPLE"}
    known |= {"NEWTRUE", "NEWFALSE", "BINPUT", "LONG_BINPUT", "MEMOIZE", "BINGET", "LONG_BINGET"}
    known |= {"STRING", "UNICODE", "INT", "LONG", "NONE", "PUT", "GET", *plain_pickle._TEXTS}
    # A name that is not on the list is refused too: `test_no_other_function_is_known`.
    known |= {"GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD"}
    known |= {*plain_pickle._BYTES, *plain_pickle._INTEGERS, *plain_pickle._TUPLES}
    refused = 0
    for code in range(256):
        data = b"\x80\x04](" + bytes([code]) + bytes(20) + b"."
        if plain_pickle._NAMES.get(code) not in known:
            refused += 1
            with pytest.raises(ValueError, match="at byte 4 is refused"):
                load_plain(io.BytesIO(data), len(data))
    assert refused == 256 - len(known)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([], "expected a pickle of"),
        (([], []), "got 0 images and 0 booleans"),
        (([b"a", b"b", b"c"], [True]), "got 3 images and 1 booleans"),
        (([b"a", [b"b"]], [True]), "expected images as bytes"),
        (([b"a", b"b"], [2]), "expected booleans"),
        (([b"a", b"b"], [b""]), "expected booleans"),
        (([b"a", b"b"], [[]]), "expected booleans"),
        ((b"ab", [True]), "expected a pickle of"),
        (True, "expected a pickle of"),
        ((["a", "b"], [True]), "expected images as bytes"),
        (([np.zeros(3, np.uint8)] * 2, [True]), "expected an array of booleans"),
        (([b"a", b"b"], [np.float32(1)]), "expected an array of booleans"),
        (([b"a", b"b"], [1.5]), "operation BINFLOAT at byte .* is refused"),
    ],
)
def test_other_pickles_are_refused_by_name(tmp_path, value, reason):
    (tmp_path / "a.bin").write_bytes(pickle.dumps(value, 4))
    with pytest.raises(ValueError, match=rf"a\.bin: .*{reason}"):
        list(BinSource(tmp_path / "a.bin").items())


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "ends at byte 0"),
        (b"\x80\x04", "ends at byte 2"),
        (b"\x80\x09.", "protocol is above 5"),
        (b".", "damaged before byte 1"),
        (b"e", "damaged before byte 1"),
        (b"(e", "damaged before byte 2"),
        (b"\x88(e.", "damaged before byte 3"),
        (b"]\x86.", "damaged before byte 2"),
        (b"h\x00.", "damaged before byte 2"),
        (b"]\x88\x88a", "damaged before byte 4"),
        (b"\x8e" + b"\xff" * 7 + b"\x7f.", "go beyond the end"),
        (b"B\xff\xff\xff\xff.", "go beyond the end"),
        (b"T\xff\xff\xff\xff.", "go beyond the end"),
    ],
)
def test_damaged_pickle_is_refused_with_a_reason(tmp_path, data, reason):
    (tmp_path / "a.bin").write_bytes(data)
    with pytest.raises(ValueError, match=rf"a\.bin: .*{reason}"):
        list(BinSource(tmp_path / "a.bin").items())


def test_list_within_itself_is_refused_and_ends(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"\x80\x04]\x94h\x00h\x00\x87.")
    with pytest.raises(ValueError, match="damaged|expected a pickle"):
        list(BinSource(tmp_path / "a.bin").items())
    (tmp_path / "a.bin").write_bytes(b"\x80\x04]\x94(h\x00h\x00e.")
    with pytest.raises(ValueError, match="expected images as bytes|got"):
        list(BinSource(tmp_path / "a.bin").items())


def test_number_of_operations_is_bounded(monkeypatch):
    monkeypatch.setattr(plain_pickle, "_MAX_OPERATIONS", 100)
    with pytest.raises(ValueError, match="more than 100 operations"):
        load_plain(io.BytesIO(b"]" * 200), 200)


def test_image_that_was_cut_off_since_is_reported(tmp_path):
    images, same = images_and_same()
    (tmp_path / "a.bin").write_bytes(pickle.dumps((images, same), 4))
    source = BinSource(tmp_path / "a.bin")
    last = list(source.items())[-1]
    (tmp_path / "a.bin").write_bytes(b"")
    with pytest.raises(ValueError, match="ends within the image, at byte"):
        source.read(last)
