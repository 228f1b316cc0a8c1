"""Conversion of a folder: through the library for all kinds of bad input, and through the program as a user runs it."""

import hashlib
import os
import pathlib
import shutil

import numpy as np
import programs
import pytest
import tensorflow as tf

from tfface.data import records
from tfface.data.conversion import convert
from tfface.data.conversion.convert import convert_folder
from tfface.data.curation.integrity import verify_dataset

ROOT = pathlib.Path(__file__).resolve().parents[3]


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def stored(directory):
    """Records of a dataset: key -> (image, identity named by the label)."""
    info = records.DatasetInfo.load(directory)
    found = {}
    for serialized in tf.data.TFRecordDataset(records.resolve_shards(directory)).as_numpy_iterator():
        feature = tf.train.Example.FromString(serialized).features.feature
        identity = info.label_map[feature["label"].int64_list.value[0]]
        assert feature["identity"].bytes_list.value[0].decode() == identity
        found[feature["key"].bytes_list.value[0].decode()] = (feature["image"].bytes_list.value[0], identity)
    return found


def expected(faces, identities):
    return {key: (data, key.split("/")[0]) for key, data in tree(faces).items() if key.split("/")[0] in set(identities)}


def program(*arguments):
    return programs.run("tfrecords_tools/from_folder.py", *arguments)


def test_folder_becomes_one_dataset(faces, tmp_path):
    result = convert.convert_folder(faces, tmp_path / "toy", num_shards=3)
    info = records.DatasetInfo.load(tmp_path / "toy")
    assert result.datasets == {str(tmp_path / "toy"): info} and result.skipped == []
    assert (info.name, info.images, info.identities, len(info.shards)) == ("toy", 30, 6, 3)
    assert stored(tmp_path / "toy") == expected(faces, info.label_map)


def test_output_depends_on_neither_listing_order_nor_workers(faces, tmp_path, monkeypatch):
    convert.convert_folder(faces, tmp_path / "toy", num_shards=3, workers=1, holdout_identities=2)
    scandir = os.scandir

    class Backwards:
        def __init__(self, path):
            with scandir(path) as entries:
                self.entries = sorted(entries, key=lambda entry: entry.name, reverse=True)

        def __enter__(self):
            return iter(self.entries)

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(os, "scandir", Backwards)
    convert.convert_folder(faces, tmp_path / "b" / "toy", num_shards=3, workers=4, holdout_identities=2)
    monkeypatch.undo()
    assert tree(tmp_path / "toy") == tree(tmp_path / "b" / "toy")


@pytest.mark.parametrize("order", ["hash", "last"])
def test_holdout_shares_no_identity_with_training(faces, tmp_path, order):
    convert.convert_folder(faces, tmp_path / "toy", holdout_identities=2, holdout_from=order)
    train, heldout = (records.DatasetInfo.load(tmp_path / "toy" / part) for part in ("train", "heldout"))
    assert (train.identities, heldout.identities) == (4, 2)
    assert sorted(train.label_map + heldout.label_map) == [f"person_{index}" for index in range(6)]
    if order == "last":
        assert heldout.label_map == ("person_4", "person_5")
    assert stored(tmp_path / "toy" / "train") == expected(faces, train.label_map)
    assert stored(tmp_path / "toy" / "heldout") == expected(faces, heldout.label_map)
    assert not (tmp_path / "toy" / "dataset.json").exists()


def test_split_by_hash_is_stable_nested_and_blind_to_the_alphabet():
    names = [f"{index:04d}" for index in range(2000)]
    some = convert.split_identities(names, 500)
    # The formula is written out, because a split must never change once results are published.
    assert some == set(sorted(names, key=lambda name: hashlib.sha256(f"0/{name}".encode()).hexdigest())[:500])
    assert some == convert.split_identities(names[::-1] * 2, 500) and len(some) == 500
    assert convert.split_identities(names, 100) < some
    assert convert.split_identities(names, 500, seed=1) != some
    # The mean rank of the held-out names is that of a uniform choice, within four standard errors.
    assert abs(np.mean([int(name) for name in some]) - 999.5) < 4 * 577 / 500**0.5


def test_split_by_name_takes_the_last():
    assert convert.split_identities(["c", "a", "d", "b"], 2, order="last") == {"c", "d"}


@pytest.mark.parametrize("holdout", [-1, 1, 5, 6, 7])
def test_holdout_must_leave_two_on_each_side(faces, tmp_path, holdout):
    with pytest.raises(ValueError, match=f"cannot hold out {holdout} of 6 identities"):
        convert.convert_folder(faces, tmp_path / "toy", holdout_identities=holdout)
    assert not (tmp_path / "toy").exists()


def test_landmarks_of_the_root_or_another_file_are_stored(faces, tmp_path):
    header = "path," + ",".join(f"{axis}{point}" for point in range(1, 6) for axis in "xy") + "\n"
    (faces / "landmarks.csv").write_text(
        f"{header}person_0/frontal/00.jpg,1,2,3,4,5,6,7,8,9,10.5\nnobody.jpg,{'0,' * 9}0\n"
    )
    convert.convert_folder(faces, tmp_path / "a")
    assert records.DatasetInfo.load(tmp_path / "a").landmarks == 1
    found = {}
    for one in tf.data.TFRecordDataset(records.resolve_shards(tmp_path / "a")).map(records.parse_example):
        if not np.isnan(one["landmarks"]).any():
            found[one["key"].numpy().decode()] = one["landmarks"].numpy().tolist()
    assert found == {"person_0/frontal/00.jpg": [[1, 2], [3, 4], [5, 6], [7, 8], [9, 10.5]]}
    other = tmp_path / "other.csv"
    other.write_text(f"{header}nobody.jpg,{'0,' * 9}0\n")
    with pytest.raises(ValueError, match=f"{other} has landmarks of none of the images"):
        convert.convert_folder(faces, tmp_path / "b", landmarks=other)


def bad_image(faces, picture):
    (faces / "person_2" / "cut.jpg").write_bytes(picture(0, format="JPEG")[:-30])


def text_file(faces, picture):
    (faces / "person_2" / "cut.jpg").write_text("no image")


def empty_identity(faces, picture):
    (faces / "person_7").mkdir()


def direct_image(faces, picture):
    (faces / "direct.png").write_bytes(picture(0))


@pytest.mark.parametrize(
    ("spoil", "path", "reason"),
    [
        (bad_image, "person_2/cut.jpg", "a damaged image"),
        (text_file, "person_2/cut.jpg", "not a JPEG or PNG image"),
        (empty_identity, "person_7/", "no images of this identity"),
        (direct_image, "direct.png", "not in the folder of an identity"),
    ],
)
def test_bad_input_is_named_and_stops_or_is_skipped(faces, tmp_path, picture, spoil, path, reason):
    good = expected(faces, [f"person_{index}" for index in range(6)])
    spoil(faces, picture)
    with pytest.raises(ValueError, match=f"^{faces}: {path}: {reason}"):
        convert.convert_folder(faces, tmp_path / "toy")
    assert not (tmp_path / "toy").exists()
    result = convert.convert_folder(faces, tmp_path / "toy", skip_bad=True)
    ((skipped, why),) = result.skipped
    assert skipped == path and why.startswith(reason)
    assert (tmp_path / "toy" / "skipped.txt").read_text() == f"{path}: {why}\n"
    assert stored(tmp_path / "toy") == good


def test_identity_without_good_images_disappears(faces, tmp_path):
    for path in (faces / "person_3").glob("*/*"):
        path.write_text("no image")
    result = convert.convert_folder(faces, tmp_path / "toy", skip_bad=True)
    info = records.DatasetInfo.load(tmp_path / "toy")
    assert info.label_map == ("person_0", "person_1", "person_2", "person_4", "person_5") and len(result.skipped) == 5


def test_folders_without_two_people_are_refused(tmp_path, picture):
    root = tmp_path / "root"
    root.mkdir()
    with pytest.raises(ValueError, match=f"{root} holds no images"):
        convert.convert_folder(root, tmp_path / "toy")
    (root / "link").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="1 symbolic links are not followed"):
        convert.convert_folder(root, tmp_path / "toy")
    (root / "only").mkdir()
    (root / "only" / "1.png").write_bytes(picture(0))
    with pytest.raises(ValueError, match=f"{root} has good images of 1 identities"):
        convert.convert_folder(root, tmp_path / "toy")
    assert not (tmp_path / "toy").exists()


def test_output_in_the_input_or_of_another_layout_is_refused(faces, tmp_path):
    with pytest.raises(ValueError, match="lies inside the input"):
        convert.convert_folder(faces, faces / "toy")
    convert.convert_folder(faces, tmp_path / "toy", holdout_identities=2)
    before = tree(tmp_path / "toy")
    with pytest.raises(ValueError, match="another holdout"):
        convert.convert_folder(faces, tmp_path / "toy", overwrite=True)
    with pytest.raises(ValueError, match="exists already"):
        convert.convert_folder(faces, tmp_path / "toy", holdout_identities=3)
    assert tree(tmp_path / "toy") == before
    convert.convert_folder(faces, tmp_path / "toy", holdout_identities=3, overwrite=True)
    assert records.DatasetInfo.load(tmp_path / "toy" / "heldout").identities == 3


def test_program_converts_and_says_what_comes_next(faces, tmp_path, picture):
    bad_image(faces, picture)
    output = tmp_path / "to y"
    done = program(f"--input={faces}", f"--output={output}", "--name=toy", "--holdout_identities=2", "--skip_bad")
    assert done.returncode == 0, done.stderr
    train, heldout = (records.DatasetInfo.load(output / part) for part in ("train", "heldout"))
    assert train.images == 20 and heldout.images == 10
    assert f"{output}/train: 20 images of 4 identities, 20 x 24 pixels, 1 shard(s)" in done.stdout
    assert f"--train_data='{output}/train' --heldout_data='{output}/heldout'" in done.stdout
    assert "left out 1: 1 of a damaged image" in done.stdout and "person_2/cut.jpg: a damaged image" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "cut.jpg: a damaged image"),
        (("--input=/nonexistent",), "/nonexistent/: No such file or directory."),
    ],
)
def test_program_fails_in_one_sentence(faces, tmp_path, picture, arguments, message):
    bad_image(faces, picture)
    done = program(f"--input={faces}", f"--output={tmp_path / 'toy'}", *arguments)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    *_, last = done.stderr.strip().splitlines()
    assert last.startswith("Error: ") and message in last
    assert not (tmp_path / "toy").exists()


def test_program_refuses_bad_flags(tmp_path):
    for flag in ("--holdout_identities=-1", "--holdout_from=first", "--workers=0", "--unknown=1"):
        done = program("--input=a", "--output=b", flag)
        assert done.returncode == 1 and flag.split("=")[0][2:] in done.stderr and "Traceback" not in done.stderr


def test_cfp_folds_nine_and_ten_are_the_last_hundred(shared_data, tmp_path):
    root = shared_data / "cfp112" / "Data" / "Images"
    result = convert.convert_folder(root, tmp_path / "cfp", holdout_identities=100, holdout_from="last")
    train, heldout = result.datasets.values()
    assert (train.images, train.identities, heldout.images, heldout.identities) == (5600, 400, 1400, 100)
    assert train.image_size == heldout.image_size == (112, 112)
    assert heldout.label_map == tuple(f"{person:03d}" for person in range(401, 501))
    found = stored(tmp_path / "cfp" / "heldout")
    digest = hashlib.sha256(b"".join(found[key][0] for key in sorted(found))).hexdigest()
    files = sorted(path for person in range(401, 501) for path in (root / f"{person:03d}").rglob("*.jpg"))
    assert digest == hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def labels(folder):
    """The label of every key in the records of a dataset."""
    shards = sorted(map(str, folder.glob("*.tfrecord")))
    examples = [tf.train.Example.FromString(one.numpy()).features.feature for one in tf.data.TFRecordDataset(shards)]
    return {one["key"].bytes_list.value[0].decode(): one["label"].int64_list.value[0] for one in examples}


def test_labels_of_another_dataset(faces, tmp_path):
    """A folder of some of the people, in which other numbers would belong to them."""
    convert_folder(faces, tmp_path / "train")
    val = tmp_path / "val_faces"
    for person in (1, 4):
        shutil.copytree(faces / f"person_{person}", val / f"person_{person}")
    info = convert_folder(val, tmp_path / "val", labels_from=tmp_path / "train").datasets[str(tmp_path / "val")]
    assert info.label_map == records.DatasetInfo.load(tmp_path / "train").label_map
    found, of_train = labels(tmp_path / "val"), labels(tmp_path / "train")
    assert len(found) == 10 and all(of_train[key] == label for key, label in found.items())
    assert not verify_dataset(tmp_path / "val").problems

    shutil.copytree(faces / "person_5", val / "stranger")
    with pytest.raises(ValueError, match="not one of the 6 identities of .*train: 'stranger'"):
        convert_folder(val, tmp_path / "other", labels_from=tmp_path / "train")
    result = convert_folder(val, tmp_path / "other", labels_from=tmp_path / "train", skip_bad=True)
    assert len(result.skipped) == 5 and labels(tmp_path / "other") == found


def test_images_of_known_people_are_held_out(faces, tmp_path):
    for path in sorted((faces / "person_2").rglob("*.*"))[1:]:
        path.unlink()
    convert_folder(faces, tmp_path / "all", holdout_images=2, holdout_identities=2, holdout_from="last")
    train, heldout, val = (labels(tmp_path / "all" / kind) for kind in ("train", "heldout", "validation"))
    assert len(train | heldout | val) == len(train) + len(heldout) + len(val) == 26
    person = lambda keys: sorted(key.split("/")[0] for key in keys)  # noqa: E731
    assert person(val) == sorted([f"person_{one}" for one in (0, 1, 3)] * 2)
    assert person(train) == sorted([f"person_{one}" for one in (0, 1, 3)] * 3 + ["person_2"])
    assert {key.split("/")[0]: label for key, label in train.items()}.items() >= {
        (key.split("/")[0], label) for key, label in val.items()
    }
    label_maps = [records.DatasetInfo.load(tmp_path / "all" / kind).label_map for kind in ("train", "validation")]
    assert label_maps[0] == label_maps[1] == tuple(f"person_{one}" for one in range(4))
    with pytest.raises(ValueError, match="without a holdout"):
        convert_folder(faces, tmp_path / "b", holdout_images=2, labels_from=tmp_path / "all/train")
