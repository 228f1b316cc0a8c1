"""The angles over a training, and their figure, against embeddings that are known in advance."""

import keras
import numpy as np
import pytest

import tfface
from tfface import evaluation, heads
from tfface.figures import AngleDistributions
from tfface.training.callbacks.angles import AngleHistograms, read_angles

# Class weights at 0.5°, 90.5° and 200.5°.
CLASSES = np.radians([0.5, 90.5, 200.5])


class Turn(keras.callbacks.Callback):
    """Sets every embedding to the angle of 2° per step in the plane; its callbacks come first."""

    def on_train_batch_end(self, batch, logs=None):
        self.step = getattr(self, "step", 0) + 1
        turned(self.model, self.step)


def turned(model, step):
    angle = np.radians(2.0 * step)
    model.encoder.layers[-1].kernel.assign([[np.cos(angle), np.sin(angle)]])
    model.head.class_weights.assign(np.stack([np.cos(CLASSES), np.sin(CLASSES)], axis=1))


def train(folder, start, stop, total):
    encoder = keras.Sequential([keras.Input((1,)), keras.layers.Dense(2, use_bias=False)])
    model = tfface.FaceModel(encoder, heads.CosFace(3))
    model.compile(optimizer=keras.optimizers.SGD(0.0))
    turned(model, start)
    turn = Turn()
    turn.step = start
    angles = AngleHistograms(folder, np.ones((4, 1)), [0, 1, 2, 0], every=10, start_step=start, total_steps=total)
    steps = stop - start
    model.fit(np.ones((steps, 1)), np.zeros(steps, int), batch_size=1, verbose=0, callbacks=[turn, angles])
    return (folder / "angles.npz").read_bytes()


def between(one, other):
    """Degrees between two directions of the plane, given in degrees."""
    return abs((one - other + 180) % 360 - 180)


def expected(step):
    """Counts per degree of the own class and of the nearest other one, by a loop."""
    positive, negative = np.zeros(180, int), np.zeros(180, int)
    for label in (0, 1, 2, 0):
        angles = [between(2 * step, place) for place in (0.5, 90.5, 200.5)]
        positive[int(angles.pop(label))] += 1
        negative[int(min(angles))] += 1
    return positive, negative


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    train(folder, 0, 26, 26)
    return folder


def test_angles_of_every_step(run):
    counts = read_angles(run / "angles.npz")
    assert counts.steps.tolist() == [0, 10, 20, 26]
    for step, *found in zip(*counts, strict=True):
        np.testing.assert_array_equal(found, expected(step))


def test_a_resumed_run_writes_the_same_file(run, tmp_path):
    train(tmp_path, 0, 23, 26)
    # The checkpoint is of step 20; an attempt after it came to another step.
    late = read_angles(tmp_path / "angles.npz")
    assert late.steps.tolist() == [0, 10, 20]
    np.savez(tmp_path / "angles.npz", **{name: np.concatenate([column, column[-1:] + (name == "steps")])
                                         for name, column in late._asdict().items()})  # fmt: skip
    train(tmp_path, 20, 26, 26)
    for one, other in zip(read_angles(tmp_path / "angles.npz"), read_angles(run / "angles.npz"), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_figure_draws_these_counts(run):
    figure = AngleDistributions(str(run), steps=[10, 26]).draw()
    for axes, which in zip(figure.axes, (0, 1), strict=True):
        for patch, step in zip(axes.patches, (10, 26), strict=True):
            np.testing.assert_allclose(patch.get_data().values, 100 * expected(step)[which] / 4)
            assert patch.get_label() == f"step {step}"
    assert len(AngleDistributions(run / "angles.npz").draw().axes[0].patches) == 4
    with pytest.raises(ValueError, match=r"no angles of step 11; there are \[0, 10, 20, 26\]"):
        AngleDistributions(run, steps=[11])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"steps": None}, "expected the arrays steps, positive, hardest_negative"),
        ({"steps": np.array([3, 2, 5, 9])}, "its steps must rise"),
        ({"positive": np.zeros((4, 90), np.int64)}, r"positive must be int64 \[4, 180\]"),
        ({"positive": np.full((4, 180), -1)}, "none negative"),
    ],
)
def test_other_files_are_refused(run, tmp_path, change, message):
    arrays = {**read_angles(run / "angles.npz")._asdict(), **change}
    np.savez(tmp_path / "angles.npz", **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(ValueError, match=f"angles.npz: .*{message}"):
        AngleDistributions(tmp_path)


@pytest.mark.parametrize("sub_centers", [1, 3])
def test_angles_in_many_blocks_are_those_of_a_loop(monkeypatch, sub_centers):
    monkeypatch.setattr("tfface.evaluation.metrics.angles._BLOCK_VALUES", 40)
    rng = np.random.default_rng(0)
    embeddings, weights, labels = (
        rng.normal(size=(9, 5)),
        rng.normal(size=(12, 5)),
        rng.integers(12 // sub_centers, size=9),
    )
    found = evaluation.angles_to_class_weights(embeddings, labels, weights, sub_centers)
    for row, (embedding, label) in enumerate(zip(embeddings, labels, strict=True)):
        of_class = {}
        for place, weight in enumerate(weights):
            cosine = embedding @ weight / np.linalg.norm(embedding) / np.linalg.norm(weight)
            of_class.setdefault(place // sub_centers, []).append(np.degrees(np.arccos(cosine)))
        assert found[0][row] == pytest.approx(min(of_class.pop(label)))
        assert found[1][row] == pytest.approx(min(map(min, of_class.values())))
    with pytest.raises(ValueError, match=r"`labels` must be in \[0, "):
        evaluation.angles_to_class_weights(embeddings, labels + 12, weights, sub_centers)
    with pytest.raises(ValueError, match="`class_weights` must be "):
        evaluation.angles_to_class_weights(embeddings, labels, weights[:, :4], sub_centers)
