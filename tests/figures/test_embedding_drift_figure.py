"""The figure of the drift against the files that it reads."""

import numpy as np
import pytest

from tfface.figures import EmbeddingDrift

ERRORS = [(0, 0.0, 0.0), (1, 0.01, 0.002), (2, 0.03, 0.004)]


@pytest.fixture
def run(tmp_path):
    lines = ["steps_before,without_compensation,with_compensation", *(",".join(map(str, row)) for row in ERRORS)]
    current = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32)
    for step, offset in ((9, 0), (10, 4)):
        (tmp_path / f"drift-{step}.csv").write_text("\n".join(lines) + "\n")
        # Lengths do not matter; the compensated embeddings are those of now.
        past = 3 * np.roll(current, 1, axis=1) + np.float32(offset)
        np.savez(tmp_path / f"drift-{step}.npz", past=past, compensated=2 * current, current=current)
    return tmp_path


def test_errors_and_embeddings_are_drawn(run):
    figure = EmbeddingDrift(str(run), images=12, seed=1)
    curves, scatter = figure.draw(run / "drift.png").axes
    for line, column in zip(curves.get_lines(), (1, 2), strict=True):
        assert line.get_ydata().tolist() == [row[column] for row in ERRORS]
    marks = {line.get_label(): line.get_xydata() for line in scatter.get_lines()}
    assert {name: points.shape for name, points in marks.items()} == dict.fromkeys(
        ("past", "compensated", "current"), (12, 2)
    )
    apart = {name: np.linalg.norm(marks[name] - marks["current"], axis=1) for name in ("past", "compensated")}
    # Equal directions fall together; those of the past have moved as a whole.
    assert apart["compensated"].max() < 0.1 * np.median(apart["past"])
    assert curves.get_title(loc="left").endswith("step 10")
    assert EmbeddingDrift(run, step=9).step == 9


def test_other_files_are_refused(run):
    with pytest.raises(ValueError, match=r"no drift-7.npz; there are those of \[9, 10\]"):
        EmbeddingDrift(run, step=7)
    (run / "drift-9.csv").write_text("steps_before,without_compensation,with_compensation\n0,zero,0\n")
    with pytest.raises(ValueError, match="drift-9.csv: expected numbers in the columns steps_before"):
        EmbeddingDrift(run, step=9)
    np.savez(run / "drift-10.npz", past=np.eye(3))
    with pytest.raises(ValueError, match="drift-10.npz: expected float arrays past, compensated, current"):
        EmbeddingDrift(run)
