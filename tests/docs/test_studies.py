"""The studies of docs/results: their rows, interrupted runs, seeds of one trace, and the tables of the pages."""

import pathlib
import shutil
import statistics

import keras
import numpy as np
import pytest
import studies
import study_pages
import study_runs
import toys

from tfface import heads
from tfface.config import components
from tfface.jobs.reproduction.tables import read_tables

RESULTS = pathlib.Path(__file__).resolve().parents[2] / "docs" / "results"
TRAININGS = {
    settings: row for study in studies.STUDIES for one in study.rows for settings, row in one.trainings().items()
}


def test_names_and_settings_are_distinct():
    assert len({study.name for study in studies.STUDIES}) == len(studies.STUDIES)
    for study in studies.STUDIES:
        assert len({row.name for row in study.rows}) == len(study.rows), study.name
        settings = [setting for row in study.rows for setting in row.trainings()]
        assert len(set(settings)) == len(settings), study.name
    # What is tuned has an equal budget for each head.
    (tuned,) = studies.named(["tuned"])
    assert {len(row.trainings()) for row in tuned.rows} == {3}
    with pytest.raises(ValueError, match="no study 'nosie'; the studies are losses, "):
        studies.named(["noise", "nosie"])


def test_rows_have_the_names_of_the_papers_rows():
    known = read_tables(study_pages._PAPERS)
    for study in studies.STUDIES:
        if study.table:
            names = {experiment.name for experiment in known[study.table].experiments}
            assert 2 * len(names & {row.name for row in study.rows}) >= len(study.rows), study.name


def built(row):
    head = components.build("head", row.head, {"num_classes": 9})
    return heads.HeadWithLosses(head, [components.build("loss", loss) for loss in row.losses]) if row.losses else head


def test_every_training_builds():
    for settings, row in TRAININGS.items():
        head = built(row)
        head.build((None, 8))
        assert head.num_classes == 9, settings


@pytest.mark.slow
def test_every_training_has_a_finite_loss():
    rng = np.random.default_rng(0)
    embeddings, labels = rng.normal(size=(6, 8)).astype(np.float32), np.arange(6, dtype=np.int32)
    for settings, row in TRAININGS.items():
        assert np.isfinite(built(row)(embeddings, labels, training=True)).all(), settings


class Stub:
    """Measures that tell row and seed; ends like a killed program after some runs."""

    def __init__(self, left):
        self.left, self.made = left, []

    def __call__(self, row, data, steps):
        def train(seed):
            if len(self.made) == self.left:
                raise KeyboardInterrupt
            self.made.append((row.head, seed))
            return {name: len(row.head) + seed + number / 7 for number, name in enumerate(study_runs.MEASURES)}

        return train


def test_interrupted_studies_continue_where_they_were(tmp_path):
    chosen = studies.named(["sphereface2-principles", "noise"])
    whole, first, second = Stub(99), Stub(4), Stub(99)
    found = study_runs.run(chosen, None, tmp_path / "whole.csv", 2, 5, whole)
    with pytest.raises(KeyboardInterrupt):
        study_runs.run(chosen, None, tmp_path / "parts.csv", 2, 5, first)
    study_runs.run(chosen, None, tmp_path / "parts.csv", 2, 5, second)
    assert first.made + second.made == whole.made
    assert (tmp_path / "parts.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    # Two studies share SphereFace2 at its own settings, which is trained once.
    assert len(found) == len(whole.made) == 2 * (5 + 10 - 1)
    # Trainings of another length stand beside them.
    study_runs.run(chosen[:1], None, tmp_path / "whole.csv", 1, 6, Stub(99))
    assert len(study_runs.read(tmp_path / "whole.csv", 6)) == 5
    assert study_runs.read(tmp_path / "whole.csv", 5) == study_runs.read(tmp_path / "parts.csv", 5)


def test_a_refused_head_does_not_stop_the_others(tmp_path):
    def trainer(row, data, steps):
        if row.name == "pn":
            raise ValueError("no")
        return Stub(99)(row, data, steps)

    with pytest.raises(ValueError, match=r"SphereFace2\(balance=0.99, .*\): no$"):
        study_runs.run(studies.named(["sphereface2-principles"]), None, tmp_path / "runs.csv", 1, 5, trainer)
    assert len(study_runs.read(tmp_path / "runs.csv", 5)) == 4


@pytest.fixture(scope="module")
def characters():
    """12 characters to train on and 3 held out, of 20 drawings each, as noise around a picture."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(15), 20)
    images = (rng.random((15, 28, 28, 1))[labels] + rng.random((300, 28, 28, 1))).astype(np.float32) / 2
    return (images[:240], labels[:240]), (images[240:], labels[240:])


@pytest.mark.parametrize(
    "row",
    [
        studies.Row("", "BroadFace(RandArcFace(sampling_rate=0.5), queue_size=160)", noise=0.4, updated=True),
        pytest.param(studies.Row("", "SphereFace2", classes=7, strangers=16), marks=pytest.mark.slow),
        pytest.param(studies.Row("", "NormSoftmax(sampler=HashForest(rate=0.3))"), marks=pytest.mark.slow),
        pytest.param(studies.Row("", "NormSoftmax", losses=("InterLoss",)), marks=pytest.mark.slow),
    ],
    ids=lambda row: row.head,
)
def test_a_seed_is_the_same_run_after_another_one(row, characters):
    """One trace serves all seeds: nothing of a run is left in the next."""
    trainer, other = (study_runs.Trainer(row, characters, 3) for _ in range(2))
    first, second, again = trainer(0), trainer(1), other(1)
    for found in (first, second, again):
        assert found.pop("seconds") > 0
        assert list(found) == list(study_runs.MEASURES[:-1])
    assert second == again != first


def test_updated_rows_are_those_after_the_step(characters):
    row = studies.Row("", "BroadFace(ArcFace(scale=32), queue_size=200)", updated=True)
    trainer = study_runs.Trainer(row, characters, 1)
    before = trainer.model.head.get_class_weights()
    trainer.model.fit(trainer._batches(0), callbacks=trainer._callbacks(), verbose=0)
    queue = trainer.model.head.queue
    rows, kept = (keras.ops.convert_to_numpy(ring.value)[:128] for ring in (queue.rows, queue.class_weights))
    assert np.array_equal(kept, trainer.model.head.get_class_weights()[rows])
    assert not (kept == before[rows]).any()


def test_strangers_are_the_other_characters_and_have_no_class(characters):
    images, labels = next(
        iter(study_runs.Trainer(studies.Row("", "SphereFace2", classes=7, strangers=16), characters, 2)._batches(0))
    )
    assert (labels[:128] >= 0).numpy().all() and (labels[128:] == -1).numpy().all() and len(labels) == 144
    known = {image.tobytes() for image in characters[0][0][:140]}
    assert [image.numpy().tobytes() in known for image in images] == [True] * 128 + [False] * 16


@pytest.mark.slow
def test_toys_and_cosines_are_drawn(characters):
    figures = toys.draw(*characters[0], epochs=1)
    titles = [[axes.get_title() or axes.get_title(loc="left") for axes in figure.axes] for figure in figures]
    assert titles == [list(toys.TOYS), list(toys.COSINES)]
    # A dot an image, and a line a class.
    panel = figures[0].axes[2]
    assert [len(dots.get_offsets()) for dots in panel.collections] == [20] * toys.CHARACTERS == [20] * len(panel.lines)
    assert np.allclose(np.linalg.norm(panel.collections[0].get_offsets(), axis=1), 1, atol=1e-5)


def test_a_table_has_means_and_deviations_and_leaves_the_text_alone(tmp_path):
    study = studies.named(["sphereface2-principles"])
    study_runs.run(study, None, tmp_path / "runs.csv", 3, 5, Stub(99))
    page = tmp_path / "sphereface2.md"
    page.write_text(
        "# Before\n\n<!-- sphereface2-principles -->\nold\n<!-- end of sphereface2-principles -->\n\nAfter.\n"
    )
    study_pages.write(study, tmp_path, 5)
    text = page.read_text()
    assert text.startswith("# Before\n") and text.endswith("\nAfter.\n") and "old" not in text
    head = "SphereFace2(balance=0.99, radius=1, margin=0, adjustment=1, use_bias=False)"
    values = [len(head) + seed for seed in range(3)]
    cell = f"{statistics.fmean(values):#.3g} ± {statistics.stdev(values):.2g}"
    assert f"\n| pn | `{head}` | {cell} | {values[1] + 1 / 7:#.3g} ± 1 | 78.03 |\n" in text
    # The longer its text, the better a head of the stub is; a difference of 2 exceeds the root of 1 + 1.
    lengths = [len(row.head) for row in study[0].rows]
    pairs = [(a, b) for place, a in enumerate(lengths) for b in lengths[place + 1 :]]
    shown, hidden = sum(b - a > 2**0.5 for a, b in pairs), sum(abs(b - a) <= 2**0.5 for a, b in pairs)
    assert (
        f"{shown} of the paper's 10 orders of two rows show, {10 - shown - hidden} are reversed and {hidden} " in text
    )
    assert (tmp_path / "sphereface2-principles.svg").is_file()
    study_pages.write(study, tmp_path, 5)
    assert page.read_text() == text


@pytest.mark.skipif(not RESULTS.is_dir(), reason="no study has been run")
def test_the_tables_of_the_pages_are_those_of_the_runs(tmp_path):
    shutil.copytree(RESULTS, tmp_path / "results")
    study_pages.write(studies.STUDIES, tmp_path / "results", 135)
    for path in sorted(RESULTS.glob("*.md")):
        assert (tmp_path / "results" / path.name).read_text() == path.read_text(), path.name
