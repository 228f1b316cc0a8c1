"""A restored model goes on exactly where the saved one was, heads with random choices and running means included."""

import keras
import numpy as np
import pytest

import tfface
from tfface import heads
from tfface.classifier.row_sgd import RowSGD
from tfface.training.checkpoints import Checkpoints, restore_encoder


def build(head, seed):
    keras.utils.set_random_seed(seed)
    encoder = keras.Sequential(
        [keras.Input((6, 6, 3)), keras.layers.Flatten(), keras.layers.Dropout(0.5), keras.layers.Dense(8)]
    )
    model = tfface.FaceModel(encoder, head())
    model.compile(optimizer=RowSGD(0.1, momentum=0.9))
    model.optimizer.build(model.trainable_variables)
    return model


def train(model, steps, start=0):
    rng = np.random.default_rng(0)
    data = [(rng.normal(size=(8, 6, 6, 3)).astype(np.float32), rng.integers(0, 50, 8)) for _ in range(10)]
    return [model.train_on_batch(*data[step]) for step in range(start, start + steps)]


@pytest.mark.parametrize(
    "head",
    [
        lambda: heads.ArcFace(50),
        lambda: heads.RandArcFace(50, sampling_rate=0.2),
        lambda: heads.DSoftmaxK(50, sampling_rate=0.2),
        lambda: heads.DSoftmaxB(50, rows=2),
        lambda: heads.CurricularFace(50),
        lambda: heads.SphereFace2(50),
        lambda: heads.SphereFace(50, annealing=100.0),
    ],
    ids=["arcface", "rand_arcface", "dsoftmax_k", "dsoftmax_b", "curricularface", "sphereface2", "annealed"],
)
def test_restored_training_is_the_uninterrupted_one(head, tmp_path):
    whole = build(head, seed=1)
    train(whole, 6)

    model = build(head, seed=1)
    train(model, 3)
    Checkpoints(tmp_path, model).save(3)
    # Another seed, so that nothing agrees by chance.
    resumed = build(head, seed=2)
    assert Checkpoints(tmp_path, resumed).restore() == 3
    train(resumed, 3, start=3)
    for got, expected in zip(resumed.variables, whole.variables, strict=True):
        if "metric" not in got.path and "loss" not in got.path:
            np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-7, err_msg=got.path)


def test_only_the_newest_are_kept(tmp_path):
    model = build(lambda: heads.ArcFace(50), seed=1)
    checkpoints = Checkpoints(tmp_path, model, keep=2)
    for step in (1, 2, 3):
        checkpoints.save(step)
    assert sorted(path.name for path in tmp_path.glob("*.index")) == ["step-2.index", "step-3.index"]
    assert checkpoints.latest.endswith("step-3")


def test_no_checkpoint_is_step_0(tmp_path):
    assert Checkpoints(tmp_path, build(lambda: heads.ArcFace(50), seed=1)).restore() == 0
    with pytest.raises(ValueError, match="no checkpoint"):
        restore_encoder(build(lambda: heads.ArcFace(50), seed=1).encoder, tmp_path)


def test_damaged_and_foreign_checkpoints_are_named(tmp_path):
    model = build(lambda: heads.ArcFace(50), seed=1)
    Checkpoints(tmp_path, model).save(7)
    with pytest.raises(ValueError, match="step-7: cannot be restored"):
        Checkpoints(tmp_path, build(lambda: heads.ArcFace(51), seed=1)).restore()
    data = next(tmp_path.glob("step-7.data*"))
    data.write_bytes(data.read_bytes()[:100])
    with pytest.raises(ValueError, match="step-7: cannot be restored"):
        Checkpoints(tmp_path, model).restore()
