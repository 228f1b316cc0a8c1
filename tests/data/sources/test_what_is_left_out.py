"""Folders and zip archives as people have them: other formats, systems' own folders, deep folders, unusual names."""

import io
import sys
import unicodedata
import zipfile

import pytest
from PIL import Image

from tfface import data, progress
from tfface.data.conversion.convert import convert, convert_folder
from tfface.data.formats import image_files, left_out
from tfface.data.formats.landmarks import write_landmarks
from tfface.data.sources.folders import FolderSource, find_images
from tfface.data.sources.image_lists import ListSource
from tfface.data.sources.records_source import open_source
from tfface.data.sources.zip_folders import ZipSource
from tfface.jobs.image_folders import folder_labels, open_images


def fill(root, names, picture):
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(picture(number))
    return root


def pack(path, names, picture):
    with zipfile.ZipFile(path, "w") as archive:
        for number, name in enumerate(names):
            archive.writestr(name, picture(number))
    return path


def test_every_suffix_of_pillow_is_read_or_named():
    Image.init()
    pictures = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    # Pillow also opens documents, films and measurements.
    others = {".bufr", ".fit", ".fits", ".grib", ".h5", ".hdf", ".mpeg", ".mpg", ".pdf", ".ps"}
    for suffix in pictures - others:
        if suffix in (".jpg", ".jpeg", ".jpe", ".jfif", ".png"):
            assert image_files.is_image_name(f"a{suffix.upper()}")
        else:
            with pytest.raises(ValueError, match=f"a {suffix} picture; only JPEG and PNG are read"):
                image_files.is_image_name(f"a{suffix.upper()}")
    assert not image_files.is_image_name("notes.txt") and not image_files.is_image_name("jpg")


@pytest.mark.parametrize(
    "content, kind",
    [
        (b"<!DOCTYPE html><title>404</title>", "HTML"),
        (b"\n <html><body>", "HTML"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a pointer of Git LFS"),
        (b"\0\0\0\x20ftyphevc", "HEIC"),
        (b"\0\0\0\x20ftypavis", "AVIF"),
        (b"8BPS\0\1", "Photoshop"),
    ],
)
def test_what_downloads_leave_in_place_of_pictures_is_named(content, kind):
    with pytest.raises(ValueError) as caught:
        data.check_image(content)
    assert str(caught.value) == f"not a JPEG or PNG image but {kind}"


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "BMP", "TIFF", "JPEG2000", "AVIF"])
def test_content_of_another_format_is_named(kind):
    if kind not in Image.SAVE and (Image.init() or kind not in Image.SAVE):
        pytest.skip(f"this Pillow does not write {kind}")
    buffer = io.BytesIO()
    Image.new("RGB", (9, 9)).save(buffer, kind)
    with pytest.raises(ValueError) as caught:
        data.check_image(buffer.getvalue())
    assert str(caught.value).replace(" ", "").upper().endswith(f"BUT{kind}")


def test_pictures_that_are_not_read_stop_the_conversion_and_are_counted(tmp_path, picture):
    names = [f"p{person}/{number}{suffix}" for person in range(2) for number, suffix in
             enumerate((".jpg", ".jfif", ".JPE", ".bmp", ".webp", ".BMP", ".txt"))]  # fmt: skip
    names += ["p2/1.heic"]
    fill(tmp_path / "photos", names, picture)
    listing = find_images(tmp_path / "photos")
    assert len(listing.keys) == 6 and len(listing.unreadable) == 7 and listing.ignored == 2
    with pytest.raises(ValueError, match=r"p0/3.bmp: a .bmp .*in all 7: 4 of a .bmp picture, such as p0/3.bmp; "):
        convert_folder(tmp_path / "photos", tmp_path / "out", workers=1)
    result = convert_folder(tmp_path / "photos", tmp_path / "out", workers=1, skip_bad=True)
    assert result.datasets[str(tmp_path / "out")].images == 6 and len(result.skipped) == 7
    assert "p2/1.heic: a .heic picture" in (tmp_path / "out/skipped.txt").read_text()
    archive = ZipSource(pack(tmp_path / "a.zip", [*names, "p3/notes.txt"], picture))
    with pytest.raises(ValueError, match=r"in all 8: 4 of a .bmp picture"):
        convert(archive, tmp_path / "zip", workers=1)
    assert archive.passed_over == {"hidden or other files": 3}
    assert ("'p3/'", "no images of this identity") in archive.skipped
    assert convert(archive, tmp_path / "zip", workers=1, skip_bad=True).datasets[str(tmp_path / "zip")].images == 6


def test_folders_of_systems_are_passed_over_and_counted(tmp_path, picture):
    good = ["a/1.png", "a/2.png", "b/1.png"]
    own = ["__MACOSX/a/._1.png", "a/@eaDir/1.png", "b/._1.png", "@eaDir/b/1.png", "$RECYCLE.BIN/x/1.png"]
    listing = find_images(fill(tmp_path / "photos", good + own, picture))
    assert (listing.keys, listing.folders, listing.ignored) == (good, ["a", "b"], 5)
    source = ZipSource(pack(tmp_path / "a.zip", good + own, picture))
    assert [item.key for item in source.items()] == good
    assert (source.passed_over, source.skipped) == ({"hidden or other files": 5}, [])


def test_a_zip_archive_with_backslashes_is_read(tmp_path, picture):
    source = ZipSource(pack(tmp_path / "a.zip", ["set\\a\\1.png", "set\\b\\1.png"], picture), "set")
    items = list(source.items())
    assert [(item.key, item.identity) for item in items] == [("a/1.png", "a"), ("b/1.png", "b")]
    assert [source.read(item) for item in items] == [picture(0), picture(1)]
    source = ZipSource(pack(tmp_path / "a.zip", ["..\\a\\1.png", "a\\..\\..\\1.png"], picture))
    assert list(source.items()) == [] and len(source.skipped) == 2


def test_depth_names_the_identity_and_deep_folders_are_explained(tmp_path, picture, monkeypatch):
    notes = []
    monkeypatch.setattr(progress, "note", notes.append)
    names = [f"{part}/p{person}/{number}.png" for part in ("train", "val") for person in range(2) for number in "12"]
    fill(tmp_path, names, picture)
    assert {item.identity for item in FolderSource(tmp_path).items()} == {"train", "val"}
    assert "2 folders 'train' and 'val' are taken for persons" in notes[0] and "--depth=2" in notes[0]
    source = FolderSource(tmp_path, depth=2)
    items = {item.key: item.identity for item in source.items()}
    assert items == {name: name.rpartition("/")[0] for name in names} and len(notes) == 1
    fill(tmp_path, ["train/loose.png"], picture)
    assert len(list(source.items())) == 8
    assert source.skipped == [("train/loose.png", "not in the folder of an identity")]
    with pytest.raises(ValueError, match="`depth` must be positive, got 0"):
        FolderSource(tmp_path, depth=0)


def of_every_category():
    """dict from category to the first and the last character of it, but for what separates paths, lines and columns."""
    found = {}
    for number in range(1, sys.maxunicode + 1):
        found.setdefault(unicodedata.category(chr(number)), []).append(chr(number))
    return {category: characters[:: max(1, len(characters) - 1)] for category, characters in found.items()}


def test_names_with_characters_of_every_category(tmp_path, picture, capsys):
    categories = of_every_category()
    bad = [character for category in ("Cc", "Cs") for character in categories.pop(category)]
    assert len(categories) == 28 and len(bad) == 4
    names = [f"a{character}b/1{character}.png" for some in categories.values() for character in (some[0], some[-1])]
    names = sorted({unicodedata.normalize("NFC", name) for name in names})
    assert len(names) > 40
    root = fill(tmp_path / "photos", names, picture)
    convert_folder(root, tmp_path / "out", workers=1)
    records = data.RecordsSource(str(tmp_path / "out"))
    assert sorted(item.key for item in records.items()) == names
    zipped = ZipSource(pack(tmp_path / "a.zip", names, picture))
    assert sorted(item.key for item in zipped.items()) == names and zipped.skipped == []
    (tmp_path / "list.csv").write_text("path,label\n" + "".join(f'"{name}","{name.split("/")[0]}"\n' for name in names))
    listed = ListSource(tmp_path / "list.csv", root)
    assert sorted(item.key for item in listed.items()) == names and listed.skipped == []
    folder = data.open_folder(root)
    assert sorted(folder.keys) == names
    (batch,) = data.folder_dataset(root, folder.keys, len(names), 8)
    assert [key.decode() for key in batch["key"].numpy()] == list(folder.keys)
    # Control characters and lone surrogates, which is how Python shows names that are not UTF-8.
    for character in ("\x01", "\x7f", "\udc80", "\udcff"):
        fill(root, [f"c/2{character}.png"], picture)
    reason = "a name with a control character, or that is not UTF-8"
    assert [why for _, why in data.find_images(root).unreadable] == [reason] * 4
    with pytest.raises(ValueError, match=rf"in all 4: 4 of {reason[:30]}"):
        convert_folder(root, tmp_path / "again", workers=1)
    with pytest.raises(ValueError, match=rf"in all 4: 4 of {reason[:30]}"):
        data.open_folder(root)
    folder = data.open_folder(root, skip_bad=True)
    assert sorted(folder.keys) == names and folder.left_out()["left out"]["count"] == 4
    assert f"read {len(names)} images, left out 4: 4 of {reason}" in capsys.readouterr().err


def test_two_unicode_forms_of_a_name_are_one_person(tmp_path, picture):
    names = ["Jos\u00e9/1.png", "Jose\u0301/2.png", "b/1.png"]
    convert_folder(fill(tmp_path / "photos", names, picture), tmp_path / "out", workers=1)
    records = data.RecordsSource(str(tmp_path / "out"))
    assert {item.key: item.identity for item in records.items()} == dict(
        zip(names, ["Jos\u00e9", "Jos\u00e9", "b"], strict=True)
    )
    fill(tmp_path / "photos", ["Jose\u0301/1.png"], picture)
    with pytest.raises(ValueError, match=r"u0301/1.png' and .*xe9/1.png'|xe9/1.png' and .*u0301/1.png'"):
        convert_folder(tmp_path / "photos", tmp_path / "again", workers=1)


def test_programs_on_folders_say_what_they_pass_over(tmp_path, picture, capsys):
    root = fill(tmp_path / "photos", ["a/1.png", "a/.hidden.png", "b/1.png", "notes.txt"], picture)
    (root / "empty").mkdir()
    (root / "link.png").symlink_to(root / "a/1.png")
    folder = data.open_folder(root)
    said = "read 2 images, left out 1: 1 of no images of this identity, such as empty/"
    assert f"{root}: {said}; passed over 2 hidden or other files and 1 symbolic links." in capsys.readouterr().err
    assert folder.left_out()["left out"] == {
        "count": 1,
        "summary": said,
        "images": ["empty/: no images of this identity"],
    }
    (root / "empty").rmdir()
    result = convert_folder(root, tmp_path / "out", workers=1)
    assert result.source.passed_over == {"hidden or other files": 2, "symbolic links": 1}


def test_all_readers_of_folders_take_a_depth(tmp_path, picture, monkeypatch):
    notes = []
    monkeypatch.setattr(progress, "note", notes.append)
    names = [f"{part}/p{person}/{number}.png" for part in ("train", "val") for person in range(2) for number in "12"]
    root, archive = fill(tmp_path / "photos", names, picture), pack(tmp_path / "a.zip", names, picture)
    for depth, persons in ((1, 2), (2, 4)):
        del notes[:]
        sources = [FolderSource(root, depth=depth), ZipSource(archive, depth=depth), open_source(str(root), depth)]
        assert [len({item.identity for item in source.items()}) for source in sources] == [persons] * 3
        opened = open_images(root, depth=depth)
        assert len(set(folder_labels(opened.keys, opened.depth))) == persons
        assert sum("are taken for persons" in note for note in notes) == (4 if depth == 1 else 0)


def test_a_person_without_images_is_named_at_any_depth(tmp_path, picture):
    root = fill(
        tmp_path / "photos", ["train/a/1.png", "train/b/deep/1.png", "val/c/notes.txt", "val/d/e/notes"], picture
    )
    assert data.find_images(root).empty() == [("val/", "no images of this identity")]
    assert data.find_images(root).empty(2) == [("val/", "no images of this identity")]
    fill(root, ["val/c/1.png"], picture)
    assert data.find_images(root).empty() == []
    for bad in (FolderSource(root, depth=2), data.open_folder(root, depth=2)):
        found = getattr(bad, "bad", None) or (list(bad.items()) and bad.skipped)
        assert list(found) == [("val/d/", "no images of this identity")]
    archive = ZipSource(pack(tmp_path / "a.zip", ["val/c/1.png", "val/d/notes.txt"], picture), depth=2)
    assert len(list(archive.items())) == 1 and archive.skipped == [("'val/d/'", "no images of this identity")]


def test_landmarks_are_found_in_both_unicode_forms_and_their_other_rows_counted(tmp_path, picture, monkeypatch):
    notes = []
    monkeypatch.setattr(progress, "note", notes.append)
    root = fill(tmp_path / "photos", ["Jose\u0301/1.png", "b/1.png"], picture)
    points = tuple(map(float, range(10)))
    write_landmarks(tmp_path / "marks.csv", {"Jos\u00e9/1.png": points, "gone/1.png": points})
    source = FolderSource(root, tmp_path / "marks.csv")
    assert [item.landmarks for item in source.items()] == [points, None]
    assert notes == [f"{tmp_path / 'marks.csv'}: 1 of 2 rows are of no image, such as 'gone/1.png'."]


def test_summary_counts_reasons_by_kind():
    found = [("a", "a damaged image (x)"), ("b", "a damaged image (y)"), ("c", "an animation")]
    numbers = [("line 3", "label 0.5, expected a whole number"), ("line 4", "label 12.25, expected a whole number")]
    assert left_out.in_all(numbers) == "2: 2 of label 0.5, expected a whole number, such as line 3"
    assert left_out.summary(5, []) == "read 5 images, left out 0"
    assert left_out.summary(5, found, {"links": 2, "others": 0}).endswith("such as c; passed over 2 links")
    assert left_out.in_all(found) == "3: 2 of a damaged image, such as a; 1 of an animation, such as c"
