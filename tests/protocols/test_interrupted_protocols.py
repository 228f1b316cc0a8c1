"""An evaluation that was killed continues, embeds nothing twice, and ends with the same bytes."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import protocol_faces as faces
import pytest

from tfface import export, jobs, protocols

PEOPLE, IMAGES = 40, 4


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return faces.save_encoder(tmp_path_factory.mktemp("model") / "encoder.keras")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("people")
    for person in range(PEOPLE):
        for image in range(IMAGES):
            path = root / ("probes", "others")[person % 2] / f"p{person}" / f"{image}.png"
            faces.write(path, faces.draw(person, image))
    return root


def calls(folder):
    return [
        f"Retrieval(records='{folder}/probes', k=[1, 5])",
        f"TrillionPairs(probes='{folder}/probes', distractors='{folder}/others')",
        f"Retrieval(records='{folder}/others', k=[1, 5])",
    ]


def files(output):
    # The command differs: it is no number.
    names = ("results.json", "results.csv", "report.html")
    return {name: (pathlib.Path(output) / name).read_bytes() for name in names}


@pytest.fixture
def embedded(monkeypatch):
    """List that grows by the number of images of each batch that is embedded."""
    counts = []
    original = export.Embedder.__call__
    monkeypatch.setattr(export.Embedder, "__call__", lambda self, x: counts.append(len(x)) or original(self, x))
    return counts


@pytest.mark.parametrize("stage", ["search", "all pairs", "last protocol"])
def test_after_an_end_in_any_stage_nothing_is_embedded_again(model, folder, tmp_path, monkeypatch, embedded, stage):
    whole = jobs.evaluate_protocols(model, calls(folder), tmp_path / "out", batch_size=7)
    expected = files(tmp_path / "out")
    assert sum(embedded) == PEOPLE * IMAGES
    embedded.clear()
    for name in expected:
        (tmp_path / "out" / name).unlink()

    module = {"search": "retrieval", "last protocol": "retrieval"}.get(stage, "trillion_pairs")
    function = {"search": "retrieve", "all pairs": "exhaustive_tar_at_far", "last protocol": "retrieve"}[stage]
    with monkeypatch.context() as patch:
        home = sys.modules[f"tfface.protocols.{module}"]
        original, left = getattr(home, function), [stage == "last protocol"]

        def killed(*arguments, **options):
            if not left.pop():
                raise KeyboardInterrupt
            left.append(False)
            return original(*arguments, **options)

        patch.setattr(home, function, killed)
        with pytest.raises(KeyboardInterrupt):
            jobs.evaluate_protocols(model, calls(folder), tmp_path / "out", batch_size=7)
    before = sum(embedded)
    again = jobs.evaluate_protocols(model, calls(folder), tmp_path / "out", batch_size=7)
    assert sum(embedded) == PEOPLE * IMAGES and before > 0
    assert [result.rates for result in again] == [result.rates for result in whole]
    assert files(tmp_path / "out") == expected
    assert not (tmp_path / "out/embeddings.partial").exists()


def test_another_model_does_not_continue_the_work(model, folder, tmp_path, monkeypatch):
    other = faces.save_encoder(tmp_path / "other.keras", seed=4)
    jobs.evaluate_protocols(other, calls(folder), tmp_path / "expected")
    with monkeypatch.context() as patch:
        patch.setattr(protocols.TrillionPairs, "evaluate", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            jobs.evaluate_protocols(model, calls(folder), tmp_path / "out")
    jobs.evaluate_protocols(other, calls(folder), tmp_path / "out")
    expected, found = (files(tmp_path / name)["results.csv"] for name in ("expected", "out"))
    assert found == expected


@pytest.mark.slow
@pytest.mark.parametrize("pieces", [1, 2])
def test_kill_while_embedding(model, folder, tmp_path, pieces):
    command = [sys.executable, "-m", "tfface", "evaluate", f"--model={model}", f"--output={tmp_path}", "--batch_size=1"]
    command += [f"--protocol={call}" for call in calls(folder)]
    options = {"env": {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    done = subprocess.run(command, check=True, **options)
    expected = files(tmp_path)
    for name in expected:
        (tmp_path / name).unlink()
    process = subprocess.Popen(command, **options)
    deadline = time.monotonic() + 300
    while len(list(tmp_path.glob("embeddings.partial/*/piece-*.npz"))) < pieces and time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "results.json").exists()
    assert subprocess.run(command, check=True, **options).stdout == done.stdout
    assert files(tmp_path) == expected
