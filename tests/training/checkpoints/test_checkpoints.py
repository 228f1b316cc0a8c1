"""A restored model goes on exactly where the saved one was, heads with random choices and running means included."""

import pathlib
import re

import keras
import numpy as np
import pytest

import tfface
from tfface import heads
from tfface.classifier.samplers.hash_forest import HashForestSampler
from tfface.optimizers.row_sgd import RowSGD
from tfface.training.callbacks.rebuild_forest import RebuildForest
from tfface.training.checkpoints import variable_files
from tfface.training.checkpoints.saving import Checkpoints, restore_encoder
from tfface.training.checkpoints.warm_start import warm_start, write_identities


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
    if head().whole_batch:
        options = {**options, "micro_batches": 1}
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


def test_a_forest_between_two_rebuilds_is_restored(tmp_path):
    rng = np.random.default_rng(0)
    images, labels = rng.normal(size=(7, 8, 6, 6, 3)).astype(np.float32), rng.integers(0, 50, (7, 8))

    def fit(model, start, stop):
        callback = RebuildForest(model.head, every=3, start_step=start)
        callback.on_train_begin()
        for step in range(start, stop):
            model.train_on_batch(images[step], labels[step])
            callback.on_train_batch_end(step)

    def head():
        return heads.ArcFace(50, sampler=HashForestSampler(0.2, leaf_size=4))

    whole = build(head, seed=1)
    fit(whole, 0, 7)

    model = build(head, seed=1)
    fit(model, 0, 4)
    Checkpoints(tmp_path, model).save(4)
    resumed = build(head, seed=2)
    assert Checkpoints(tmp_path, resumed).restore() == 4
    fit(resumed, 4, 7)
    for got, expected in zip(resumed.variables, whole.variables, strict=True):
        if "metric" not in got.path and "loss" not in got.path:
            np.testing.assert_array_equal(got, expected, err_msg=got.path)


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


def test_a_foreign_checkpoint_is_named(tmp_path):
    Checkpoints(tmp_path, build(lambda: heads.ArcFace(50), seed=1)).save(7)
    with pytest.raises(ValueError, match="step-7: cannot be restored"):
        Checkpoints(tmp_path, build(lambda: heads.ArcFace(51), seed=1)).restore()
    assert (tmp_path / "step-7").is_dir()


def truncate(path):
    path.write_bytes(path.read_bytes()[:100])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def shuffle_checksums(path):
    path.write_text(path.read_text().replace('"crc32c": "', '"crc32c": "0'))


DAMAGES = {
    "truncated": ("variables.data-00000-of-00001", truncate, "has 100 bytes instead of 10"),
    "emptied": ("variables.data-00000-of-00001", lambda path: path.write_bytes(b""), "has 0 bytes instead of 10"),
    "a byte flipped": ("variables.data-00000-of-00001", flip, "variables.data-.* does not match its checksum"),
    "the index flipped": ("variables.index", flip, "variables.index does not match its checksum"),
    "a file missing": ("variables.index", pathlib.Path.unlink, "variables.index is missing"),
    "checksums truncated": ("checksums.json", truncate, "checksums.json is damaged"),
    "other checksums": ("checksums.json", shuffle_checksums, "does not match its checksum"),
    "checksums of another form": ("checksums.json", lambda path: path.write_text("[1]"), "checksums.json is damaged"),
}


@pytest.fixture
def two_checkpoints(tmp_path):
    """Checkpoints of steps 3 and 5, their model as it is at step 6, and what it was at step 3."""
    model = build(lambda: heads.ArcFace(50), seed=1)
    checkpoints = Checkpoints(tmp_path, model)
    train(model, 3)
    checkpoints.save(3)
    old = arrays(model)
    train(model, 2)
    checkpoints.save(5)
    train(model, 1)
    return checkpoints, old


@pytest.mark.parametrize("file, damage, reason", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("release", ["0.1", "now"])
def test_the_next_older_whole_checkpoint_takes_the_place_of_a_damaged_one(
    file, damage, reason, release, two_checkpoints, tmp_path, capsys
):
    checkpoints, old = two_checkpoints
    if release == "0.1":
        if file == "checksums.json":
            pytest.skip("release 0.1 wrote no checksums")
        for path in tmp_path.glob("*/checksums.json"):
            path.unlink()
        reason = "step-5"
    damage(tmp_path / "step-5" / file)
    with pytest.raises(ValueError, match=f"step-5 is damaged: .*{reason if release == 'now' else ''}"):
        checkpoints.restore(strict=True)
    assert restore_encoder(build(lambda: heads.ArcFace(50), seed=2).encoder, tmp_path).endswith("step-3")
    assert checkpoints.restore() == 3
    for got, expected in zip(arrays(checkpoints.model), old, strict=True):
        np.testing.assert_array_equal(got, expected)
    told = capsys.readouterr().err
    assert re.search(reason, told)
    assert "The run continues from step-3." in told
    # The run makes its checkpoints again, and keeps the newest of them.
    checkpoints.save(4)
    checkpoints.save(5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged-step-5", "step-4", "step-5"]
    assert checkpoints.restore() == 5


def test_where_all_checkpoints_are_damaged_nothing_is_begun_again(two_checkpoints, tmp_path):
    checkpoints, _ = two_checkpoints
    for step in (3, 5):
        flip(tmp_path / f"step-{step}/variables.index")
    for restore in (
        checkpoints.restore,
        lambda: restore_encoder(checkpoints.model.encoder, tmp_path),
        lambda: checkpoints.latest,
    ):
        with pytest.raises(ValueError, match="step-5 is damaged: .* and so are the 1 before it; no checkpoint can be"):
            restore()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-3", "step-5"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["encoder", "head", "optimizer"])
@pytest.mark.parametrize("replicas", [1, 2])
def test_what_is_not_finite_is_not_saved(value, where, replicas, tmp_path, mirrored):
    with mirrored(replicas).scope():
        model = build(partitioned(), seed=1)
        checkpoints = Checkpoints(tmp_path, model, keep=1)
        checkpoints.save(1)
        floats = [each for each in getattr(model, where).variables if "float" in each.dtype]
        array = np.array(floats[-1])
        array.flat[-1] = value
        floats[-1].assign(array)
        with pytest.raises(ValueError, match=f"not finite after step 2 .{where}/.*newest checkpoint is .*step-1"):
            checkpoints.save(2)
    assert [path.name for path in tmp_path.iterdir()] == ["step-1"]


def test_a_checkpoint_between_two_lines_of_the_log_keeps_their_mean(tmp_path):
    whole, model = (build(lambda: heads.ArcFace(50), seed=1) for _ in range(2))
    expected = fit(whole, 6)
    fit(model, 2)
    Checkpoints(tmp_path, model).save(2)
    resumed = build(lambda: heads.ArcFace(50), seed=2)
    checkpoints = Checkpoints(tmp_path, resumed)
    assert checkpoints.restore() == 2
    checkpoints.restore_metrics()
    assert fit(resumed, 4, start=2) == expected


def fit(model, steps, start=0):
    """The mean loss over all steps since the beginning, as a line of the log has it; `fit` itself would clear it."""
    train_function = model.make_train_function()
    rng = np.random.default_rng(0)
    batches = [(rng.normal(size=(8, 6, 6, 3)).astype(np.float32), rng.integers(0, 50, 8)) for _ in range(10)]
    for step in range(start, start + steps):
        logs = (train_function or model.train_function)(iter([batches[step]]))
    return float(logs["loss"])


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


def test_a_shard_is_written_in_parts(mirrored, monkeypatch, tmp_path):
    """As large ones are, so that no shard is copied whole."""
    monkeypatch.setattr(variable_files, "_NUMBERS_AT_ONCE", 5 * 8)
    with mirrored(3).scope():
        model = build(lambda: heads.ArcFace(50, partition="replicas"), seed=1)
        expected = model.head.get_class_weights()
        Checkpoints(tmp_path, model).save(1)
    # Shards of 16, 17 and 17 rows.
    assert len(list((tmp_path / "step-1").glob("variables.data-*"))) >= 2 * (4 + 4 + 4)
    resumed = build(lambda: heads.ArcFace(50), seed=2)
    assert np.any(resumed.head.get_class_weights() != expected)
    assert Checkpoints(tmp_path, resumed).restore() == 1
    np.testing.assert_array_equal(resumed.head.get_class_weights(), expected)
