"""Folders and zip archives as people have them: other formats, systems' own folders, deep folders, unusual names."""

import io
import zipfile

import pytest
from PIL import Image

from tfface import data, progress
from tfface.data.conversion.convert import convert, convert_folder
from tfface.data.formats import image_files, left_out
from tfface.data.sources.folders import FolderSource, find_images
from tfface.data.sources.zip_folders import ZipSource


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
    assert archive.ignored == 3
    assert ("'p3/'", "no images of this identity") in archive.skipped
    assert convert(archive, tmp_path / "zip", workers=1, skip_bad=True).datasets[str(tmp_path / "zip")].images == 6


def test_folders_of_systems_are_passed_over_and_counted(tmp_path, picture):
    good = ["a/1.png", "a/2.png", "b/1.png"]
    own = ["__MACOSX/a/._1.png", "a/@eaDir/1.png", "b/._1.png", "@eaDir/b/1.png", "$RECYCLE.BIN/x/1.png"]
    listing = find_images(fill(tmp_path / "photos", good + own, picture))
    assert (listing.keys, listing.folders, listing.ignored) == (good, ["a", "b"], 5)
    source = ZipSource(pack(tmp_path / "a.zip", good + own, picture))
    assert [item.key for item in source.items()] == good
    assert (source.ignored, source.skipped) == (5, [])


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


@pytest.mark.parametrize("character", ["\u202f", "\u200c", "\u200e", "\u00ad", "\ue000", "\U000e0061", "\u3000"])
def test_unusual_names_are_kept(tmp_path, picture, character):
    names = [f"a{character}b/1{character}.png", "c/1.png"]
    convert_folder(fill(tmp_path / "photos", names, picture), tmp_path / "out", workers=1)
    records = data.RecordsSource(str(tmp_path / "out"))
    assert sorted(item.key for item in records.items()) == sorted(names)
    zipped = ZipSource(pack(tmp_path / "a.zip", names, picture))
    assert sorted(item.key for item in zipped.items()) == sorted(names) and zipped.skipped == []


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


def test_summary_counts_reasons_by_kind():
    found = [("a", "a damaged image (x)"), ("b", "a damaged image (y)"), ("c", "an animation")]
    assert left_out.in_all(found) == "3: 2 of a damaged image, such as a; 1 of an animation, such as c"
