"""Images inside a zip archive: names, identities, threads, and hostile archives."""

import concurrent.futures
import io
import pickle
import struct
import zipfile

import pytest

from tfface.data.conversion.convert import convert
from tfface.data.formats import image_files
from tfface.data.images.decoding import check_image
from tfface.data.sources import zip_folders
from tfface.data.sources.zip_folders import ZipSource


def archive(path, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


def test_members_become_items(tmp_path, picture):
    members = {f"set/group_{n % 2}/person_{n % 4}/{n}.png": picture(n) for n in range(12)}
    others = {"set/notes.txt": b"", "other/a/1.png": b"", "set/.hidden/1.png": b"", "set/a/.1.png": b"", "set/a/": b""}
    source = ZipSource(archive(tmp_path / "a.zip", members | others), "set", 2)
    items = list(source.items())
    assert [f"set/{item.key}" for item in items] == sorted(members) and source.skipped == []
    assert {item.identity for item in items} == {f"group_{n % 2}/person_{n}" for n in range(4)}
    assert all(source.read(item) == members[f"set/{item.key}"] for item in items)
    assert {item.identity for item in ZipSource(tmp_path / "a.zip", "/set/").items()} == {"group_0", "group_1"}
    copy = pickle.loads(pickle.dumps(source))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(copy.read, items * 20)) == [members[f"set/{item.key}"] for item in items] * 20


@pytest.mark.parametrize(
    "name", ["../1.png", "/a/1.png", "a/../../1.png", "a//1.png", "C:/a/1.png", "1.png", "a/\n/1.png"]
)
def test_names_that_lead_elsewhere_are_listed(tmp_path, name):
    source = ZipSource(archive(tmp_path / "a.zip", {"a/1.png": b"", name: b""}))
    assert [item.key for item in source.items()] == ["a/1.png"]
    ((place, reason),) = source.skipped
    assert place == ascii(name) and ("expected" in reason or "not in the folder" in reason)


def test_large_member_is_refused_unread_and_a_lie_about_its_size_too(tmp_path, monkeypatch):
    for module in (image_files, zip_folders):
        monkeypatch.setattr(module, "MAX_IMAGE_BYTES", 1000)
    path = archive(tmp_path / "a.zip", {"a/1.png": bytes(10**6), "b/1.png": bytes(1000)})
    source = ZipSource(path)
    assert [item.key for item in source.items()] == ["b/1.png"] and "larger than" in source.skipped[0][1]
    # The size is in the member's header and in the directory; readers trust the latter.
    path.write_bytes(path.read_bytes().replace(struct.pack("<I", 10**6), struct.pack("<I", 900)))
    source = ZipSource(path)
    liar = list(source.items())[0]
    with pytest.raises(ValueError, match="damaged member|larger than"):
        source.read(liar)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_methods_and_encryption_are_listed(tmp_path, method):
    path = archive(tmp_path / "a.zip", {"a/1.png": b"123"}, method)
    source = ZipSource(path)
    assert list(source.items()) == [] and "a method other than deflate" in source.skipped[0][1]
    data = bytearray(archive(path, {"a/1.png": b"123"}).read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(data)
    source = ZipSource(path)
    assert list(source.items()) == [] and "encrypted" in source.skipped[0][1]


def test_damage_is_reported_with_a_reason(tmp_path, picture):
    path = archive(tmp_path / "a.zip", {"a/1.png": picture(1)})
    data = bytearray(path.read_bytes())
    data[60] ^= 255
    path.write_bytes(data)
    source = ZipSource(path)
    (item,) = source.items()
    with pytest.raises(ValueError, match="a damaged member"):
        source.read(item)
    for content in (b"", b"PK", b"no archive"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.zip: not a zip archive"):
            ZipSource(path)
    with pytest.raises(ValueError, match="`depth` must be positive, got 0"):
        ZipSource(path, depth=0)


def test_real_archive(shared_data):
    source = ZipSource(shared_data / "omniglot_background.zip", "images_background", 2)
    items = list(source.items())
    assert len(items) == 19_280 and len({item.identity for item in items}) == 964 and source.skipped == []
    assert {check_image(source.read(item)) for item in items[::1000]} == {(105, 105)}
    with zipfile.ZipFile(shared_data / "omniglot_background.zip") as file:
        for item in items[::1000]:
            assert source.read(item) == file.read(f"images_background/{item.key}")


@pytest.mark.slow
def test_real_archive_becomes_a_dataset(shared_data, tmp_path):
    source = ZipSource(shared_data / "omniglot_background.zip", "images_background", 2)
    (info,) = convert(source, tmp_path / "omniglot").datasets.values()
    assert (info.images, info.identities, info.image_size) == (19_280, 964, (105, 105))


def test_archive_becomes_a_dataset(tmp_path, picture):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for n in range(8):
            file.writestr(f"person_{n % 2}/{n}.png", picture(n))
        file.writestr("person_0/bad.png", picture(0)[:50])
    (tmp_path / "a.zip").write_bytes(buffer.getvalue())
    with pytest.raises(ValueError, match=r"a\.zip: person_0/bad\.png: .*damaged"):
        convert(ZipSource(tmp_path / "a.zip"), tmp_path / "toy")
    result = convert(ZipSource(tmp_path / "a.zip"), tmp_path / "toy", skip_bad=True)
    (info,) = result.datasets.values()
    assert (info.images, info.identities, len(result.skipped)) == (8, 2, 1)


def test_zeros_behind_a_signature_are_listed_before_they_need_memory(tmp_path, picture):
    members = {"a/1.jpg": b"\xff\xd8\xff" + bytes(40 << 20), "a/2.png": picture(2)}
    source = ZipSource(archive(tmp_path / "a.zip", members))
    assert [item.key for item in source.items()] == ["a/2.png"]
    ((place, reason),) = source.skipped
    assert place == "'a/1.jpg'" and reason.startswith("41943043 bytes compressed to")
