"""A restored model goes on exactly where the saved one was, heads with random choices and running means included."""

import keras
import numpy as np
import pytest

import tfface
from tfface import heads
from tfface.classifier.row_sgd import RowSGD
from tfface.training.checkpoints import Checkpoints, restore_encoder
from tfface.training.warm_start import warm_start, write_identities


def build(head, seed, scaled=False, **options):
    keras.utils.set_random_seed(seed)
    encoder = keras.Sequential(
        [keras.Input((6, 6, 3)), keras.layers.Flatten(), keras.layers.Dropout(0.5), keras.layers.Dense(8)]
    )
    model = tfface.FaceModel(encoder, head(), **options)
    optimizer = RowSGD(0.1, momentum=0.9)
    # A scale that grows after four steps: the count of steps has to be restored too.
    model.compile(optimizer=keras.optimizers.LossScaleOptimizer(optimizer, 2.0**7, 4) if scaled else optimizer)
    model.optimizer.build(model.trainable_variables)
    return model


def train(model, steps, start=0):
    rng = np.random.default_rng(0)
    data = [(rng.normal(size=(8, 6, 6, 3)).astype(np.float32), rng.integers(0, 50, 8)) for _ in range(10)]
    return [model.train_on_batch(*data[step]) for step in range(start, start + steps)]


@pytest.mark.parametrize("options", [{}, {"ema_momentum": 0.9, "micro_batches": 2, "scaled": True}])
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
def test_restored_training_is_the_uninterrupted_one(head, options, tmp_path):
    whole = build(head, seed=1, **options)
    train(whole, 6)

    model = build(head, seed=1, **options)
    train(model, 3)
    Checkpoints(tmp_path, model).save(3)
    # Another seed, so that nothing agrees by chance.
    resumed = build(head, seed=2, **options)
    assert Checkpoints(tmp_path, resumed).restore() == 3
    train(resumed, 3, start=3)
    variables = [[*each.variables, *each.optimizer.variables] for each in (resumed, whole)]
    for got, expected in zip(*variables, strict=True):
        if "metric" not in got.path and "loss" not in got.path:
            np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-7, err_msg=got.path)


def test_only_the_newest_are_kept(tmp_path):
    model = build(lambda: heads.ArcFace(50), seed=1)
    checkpoints = Checkpoints(tmp_path, model, keep=2)
    for step in (1, 2, 3):
        checkpoints.save(step)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-2", "step-3"]
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
    data = next(tmp_path.glob("step-7/variables.data*"))
    data.write_bytes(data.read_bytes()[:100])
    with pytest.raises(ValueError, match="step-7: cannot be restored"):
        Checkpoints(tmp_path, model).restore()
    (tmp_path / "step-7/variables.index").write_bytes(b"")
    with pytest.raises(ValueError, match="step-7: cannot be restored"):
        Checkpoints(tmp_path, model).restore()


def test_an_unfinished_checkpoint_is_none(tmp_path):
    model = build(lambda: heads.ArcFace(50), seed=1)
    checkpoints = Checkpoints(tmp_path, model)
    checkpoints.save(1)
    (tmp_path / "step-1").rename(tmp_path / ".step-2")
    assert checkpoints.latest is None
    checkpoints.save(2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-2"]


def partitioned(partition="replicas", classes=50, **options):
    return lambda: heads.RandArcFace(classes, sampling_rate=0.2, partition=partition, **options)


def arrays(model):
    return [variable.numpy() for variable in [*model.encoder.variables, *model.head.variables]] + [
        variable.numpy() for variable in model.optimizer.variables
    ]


@pytest.mark.parametrize(
    "saved, restored",
    [(1, 3), (4, 2), pytest.param(3, 1, marks=pytest.mark.slow), pytest.param(2, 4, marks=pytest.mark.slow)],
)
def test_any_number_of_replicas_reads_a_checkpoint(saved, restored, tmp_path, mirrored):
    with mirrored(saved).scope():
        model = build(partitioned(), seed=1)
        train(model, 2)
        Checkpoints(tmp_path, model).save(2)
        expected = arrays(model)
    with mirrored(restored).scope():
        model = build(partitioned("host" if restored == 4 else "replicas"), seed=2)
        assert Checkpoints(tmp_path, model).restore() == 2
        for got, wanted in zip(arrays(model), expected, strict=True):
            np.testing.assert_array_equal(got, wanted)
        train(model, 1)


@pytest.mark.parametrize("replicas", [1, 3])
@pytest.mark.parametrize("head", [heads.SubCenterArcFace, heads.Softmax, heads.SphereFace2])
def test_warm_start_keeps_the_rows_of_identities_it_knows(replicas, head, tmp_path, mirrored):
    old_names, new_names = [f"b{number}" for number in range(7)], ["a", "b5", "b0", "c", "b6", "b2", "d", "e", "b1"]
    old = build(lambda: head(7), seed=1)
    if head is heads.Softmax:
        old.head.class_bias.assign(np.arange(7, dtype=np.float32))
    Checkpoints(tmp_path / "checkpoints", old).save(0)
    write_identities(tmp_path, old_names)
    with mirrored(replicas).scope():
        model = build(lambda: head(9, partition="replicas"), seed=2)
        fresh = model.head.get_class_weights().reshape(9, -1)
        warm_start(model, new_names, tmp_path)
    rows, known = model.head.get_class_weights().reshape(9, -1), old.head.get_class_weights().reshape(7, -1)
    for row, name in enumerate(new_names):
        np.testing.assert_array_equal(rows[row], known[int(name[1])] if name[0] == "b" else fresh[row])
    if head is heads.Softmax:
        np.testing.assert_array_equal(model.head.class_bias.numpy(), [0, 5, 0, 0, 6, 2, 0, 0, 1])
    np.testing.assert_array_equal(model.encoder.variables[0].numpy(), old.encoder.variables[0].numpy())


def test_warm_start_from_something_else_is_refused(tmp_path):
    model = build(lambda: heads.ArcFace(7), seed=1)
    with pytest.raises(ValueError, match="no checkpoint"):
        warm_start(model, ["a"] * 7, tmp_path)
    Checkpoints(tmp_path / "checkpoints", model).save(0)
    with pytest.raises(ValueError, match="identities.json: the names .* cannot be read"):
        warm_start(model, ["a"] * 7, tmp_path)
