"""Embedding by Apache Beam gives the bytes of embedding by one process, also after a kill."""

import pathlib
import types

import piece_sets
import pytest
from beam_runs import kill_and_repeat, options, processes

from tfface import jobs

pytest.importorskip("apache_beam", reason="Apache Beam is not installed (extra `beam`)")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    piece_sets.save_model(folder / "encoder.keras")
    piece_sets.write_records(piece_sets.write_photos(folder / "photos"), folder / "records")
    return folder


@pytest.fixture(scope="module")
def expected(folder, tmp_path_factory):
    """dict from the kind of images to the bytes that one process writes."""
    output = tmp_path_factory.mktemp("expected")
    for kind in ("photos", "records"):
        jobs.embed_images(folder / "encoder.keras", folder / kind, output / f"{kind}.npz", batch_size=1)
    return {kind: (output / f"{kind}.npz").read_bytes() for kind in ("photos", "records")}


def writer(*of_beam):
    from tfface.export.embedding.beam import piece_writer

    return piece_writer(options(*of_beam))


@pytest.mark.parametrize("kind", ["photos", "records"])
@pytest.mark.parametrize(
    "of_beam", [(), *(pytest.param(processes(count), marks=pytest.mark.slow) for count in (1, 2, 4))], ids=len
)
def test_beam_writes_the_same_bytes(folder, expected, tmp_path, kind, of_beam):
    output = tmp_path / "found.npz"
    jobs.embed_images(folder / "encoder.keras", folder / kind, output, batch_size=1, write=writer(*of_beam))
    assert output.read_bytes() == expected[kind]
    assert [path.name for path in tmp_path.iterdir()] == ["found.npz"]


def test_a_bad_record_is_named_and_the_rest_is_kept(folder, expected, tmp_path):
    shards = sorted((folder / "records").glob("*.tfrecord"))
    content = shards[-1].read_bytes()
    arguments = {"batch_size": 1, "write": writer()}
    try:
        # The same length: the last image of the last piece.
        shards[-1].write_bytes(content[:-40] + bytes([content[-40] ^ 1]) + content[-39:])
        with pytest.raises(ValueError, match=rf"{shards[-1].name}: record \d+ at byte \d+.*skip_bad leaves"):
            jobs.embed_images(folder / "encoder.keras", folder / "records", tmp_path / "found.npz", **arguments)
    finally:
        shards[-1].write_bytes(content)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "found.npz.partial").glob("piece-*.npz")}
    assert [path.name for path in sorted(kept)] == ["piece-000000.npz", "piece-000001.npz"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs.embedding, "shutil", types.SimpleNamespace(rmtree=lambda path: None))
        jobs.embed_images(folder / "encoder.keras", folder / "records", tmp_path / "found.npz", **arguments)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept  # Not embedded again.
    assert (tmp_path / "found.npz").read_bytes() == expected["records"]


def test_every_process_loads_the_model_once(folder, tmp_path, monkeypatch):
    loaded = []
    original = jobs.embedding.load_encoder
    monkeypatch.setattr(jobs.embedding, "load_encoder", lambda model: loaded.append(model) or original(model))
    threads = "--direct_running_mode=multi_threading", "--direct_num_workers=3"
    arguments = folder / "encoder.keras", folder / "photos", tmp_path / "found.npz"
    jobs.embed_images(*arguments, batch_size=1, write=writer(*threads))
    assert len(loaded) == 2  # And once before the pipeline, for the size of images.


@pytest.mark.slow
@pytest.mark.skipif(not pathlib.Path("/proc/self").exists(), reason="looks into /proc")
@pytest.mark.parametrize(("victim", "kind"), [("program", "photos"), ("worker", "records")])
def test_a_killed_run_is_continued_with_the_same_bytes(folder, expected, tmp_path, victim, kind):
    output = tmp_path / "found.npz"
    arguments = ["embed", f"--model={folder}/encoder.keras", f"--data={folder}/{kind}", f"--output={output}"]
    kill_and_repeat([*arguments, "--batch_size=1"], lambda: list(tmp_path.glob("*.partial/piece-*.npz")), victim)
    assert output.read_bytes() == expected[kind] and not list(tmp_path.glob("*.partial"))
