"""Pieces that anybody embeds in any order make the embeddings of one pass, bit for bit."""

import pathlib
import shutil

import numpy as np
import piece_sets
import pytest

from tfface import data, jobs
from tfface.export.embedding import pieces


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    piece_sets.save_model(folder / "encoder.keras")
    piece_sets.write_records(piece_sets.write_photos(folder / "photos"), folder / "records")
    shutil.copytree(folder / "photos", folder / "some bad")
    for name in ("p0/03.png", "p9/14.png"):
        (folder / "some bad" / name).write_bytes(b"no image")
    shutil.copytree(folder / "records", folder / "bad records")
    shard = sorted((folder / "bad records").glob("*.tfrecord"))[1]
    content = bytearray(shard.read_bytes())
    content[20] ^= 1  # In the data of the first record: damage to a length would hide what follows.
    shard.write_bytes(content)
    return folder


def backwards(seen, but=()):
    """Makes a function for `embed_images(write=...)` that embeds the last piece first, through files."""

    def write(load, work, plans):
        embedder = load()
        for number, plan in reversed(list(enumerate(plans))):
            path = pieces.piece_path(work, number)
            if number in but or path.is_file():
                continue
            plan.save(pathlib.Path(work) / "plan")
            pieces.load_plan(pathlib.Path(work) / "plan").write(embedder, path)
            seen.append(number)

    return write


@pytest.mark.parametrize(
    "images, name",
    [("photos", "found.npz"), ("records", "found.tfrecord"), ("some bad", "found.npz"), ("bad records", "found.npz")],
)
def test_pieces_in_any_order_make_the_same_file(folder, tmp_path, monkeypatch, images, name):
    # Relative paths in a plan would not be found on another machine.
    monkeypatch.chdir(folder)
    opened = jobs.open_images(images, skip_bad="bad" in images)
    arguments = {"flip": images == "photos", "batch_size": 1, "opened": opened}
    jobs.embed_images("encoder.keras", images, tmp_path / "whole" / name, **arguments)
    seen = []
    found = jobs.embed_images("encoder.keras", images, tmp_path / name, **arguments, write=backwards(seen))
    assert seen == [2, 1, 0] and len(found.keys) == 150 - len(opened.bad)
    assert (tmp_path / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("but", [(0,), (1,), (0, 1, 2)])
def test_one_process_completes_what_others_began(folder, tmp_path, but):
    expected = jobs.embed_images(folder / "encoder.keras", folder / "records", batch_size=1)
    arguments = [folder / "encoder.keras", folder / "records", tmp_path / "found.npz"]
    found = jobs.embed_images(*arguments, batch_size=1, write=backwards([], but))
    assert found.keys == expected.keys and (found.labels == expected.labels).all()
    np.testing.assert_array_equal(found.vectors, expected.vectors)


def test_pieces_of_another_job_are_not_taken_where_the_first_is_missing(folder, tmp_path):
    arguments = [folder / "encoder.keras", folder / "records", tmp_path / "found.npz"]

    def interrupted(load, work, plans):
        backwards([], (0, 1))(load, work, plans)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        jobs.embed_images(*arguments, batch_size=1, write=interrupted)
    with pytest.raises(ValueError, match=r"found\.npz\.partial holds another job \(flip was False, now True\)"):
        jobs.embed_images(*arguments, batch_size=1, flip=True, write=backwards([]))


def test_a_range_of_records_is_that_part_of_all(folder):
    def keys(**part):
        dataset = data.eval_dataset(opened, 7, 16, **part)
        found = [key for batch in dataset.as_numpy_iterator() for key in batch["key"]]
        assert len(dataset) == -(-len(found) // 7)
        return found

    for name in ("records", "bad records"):
        opened = data.open_records(folder / name, skip_bad=True)
        count, whole = sum(opened.counts), keys()
        for start, stop in [(0, 1), (0, count), (count - 1, count), (opened.counts[0], 80), (3, opened.counts[0])]:
            assert keys(start=start, stop=stop) == whole[start:stop]
            assert len(opened.around(start, stop)[0].shards) <= 3 or stop - start > 80
        for start, stop in [(-1, 3), (5, 5), (0, count + 1), (count, None)]:
            with pytest.raises(ValueError, match=f"records {start} to .* were asked for, there are {count}"):
                keys(start=start, stop=stop)


def test_a_bad_image_of_a_piece_is_named(folder, tmp_path):
    output = tmp_path / "found.npz"
    opened = data.ImageFolder(folder / "some bad", tuple(sorted(jobs.open_images(folder / "photos").keys)))
    with pytest.raises(ValueError, match=r"p9/14\.png: not a JPEG or PNG image"):
        arguments = folder / "encoder.keras", folder / "some bad", output
        jobs.embed_images(*arguments, batch_size=1, opened=opened, write=backwards([]))
    with pytest.raises(ValueError, match="`write` needs an `output`"):
        jobs.embed_images(folder / "encoder.keras", folder / "photos", write=backwards([]))
