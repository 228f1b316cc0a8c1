"""Every loss against its oracle: values, gradients, degenerate batches, configs and files."""

import itertools
import subprocess
import sys

import keras
import loss_oracles as oracles
import numpy as np
import pytest
import tensorflow as tf

from tfface import heads, losses

B, D, K = 12, 6, 5
LABELS = np.array([0, 1, 2, 0, 1, 2, 0, 3, 4, 4, 0, 1])


def rows(n, seed=0):
    """[n, D] in float64, of values that float32 holds exactly."""
    return np.random.default_rng([seed, n]).normal(size=(n, D)).astype(np.float32).astype(np.float64)


X, W = rows(B), rows(K, seed=1)
PAIRS, GENUINE = np.stack([X, rows(B, seed=2)], axis=1) / 3, np.arange(B) % 2


def ready(layer):
    """Builds a layer; centres get the values that the oracle below knows."""
    layer.build((B, D))
    if isinstance(layer, losses.CenterLoss):
        layer.centers.assign(W)
    return layer


# name -> (layer, oracle, the arrays that both take and are differentiated by)
CASES = {
    "intra": (losses.IntraLoss, lambda x, w: oracles.intra(x, LABELS, w), (X, W)),
    "inter": (losses.InterLoss, lambda x, w: oracles.inter(x, LABELS, w), (X, W)),
    "center": (lambda: losses.CenterLoss(K), lambda x: oracles.center(x, LABELS, W), (X,)),
    "ring": (lambda: losses.RingLoss(2.5), lambda x: oracles.ring(x, 2.5), (X,)),
    "contrastive": (
        lambda: losses.ContrastiveLoss(1.5),
        lambda pairs: oracles.contrastive(pairs, GENUINE, 1.5),
        (PAIRS,),
    ),
}
for distance, margin in (("angular", 1.6), ("cosine", 1.1), ("euclidean", 3.0), ("squared_euclidean", 9.0)):
    CASES[f"contrastive-{distance}"] = (
        lambda margin=margin, distance=distance: losses.ContrastiveLoss(margin, "all", distance),
        lambda x, margin=margin, distance=distance: oracles.contrastive_of_batch(x, LABELS, margin, distance),
        (X,),
    )
for power in (0, 1, 2):
    CASES[f"energy_{power}"] = (
        lambda power=power: losses.HypersphericalEnergy(power),
        lambda w, power=power: oracles.hyperspherical_energy(w, power),
        (W,),
    )
for mining, distance, soft in itertools.product(
    ("batch_hard", "semi_hard", "all"), ("angular", "cosine", "euclidean", "squared_euclidean"), (False, True)
):
    options = {"margin": 0.3, "mining": mining, "distance": distance, "soft": soft}
    CASES["-".join(("triplet", mining, distance) + ("soft",) * soft)] = (
        lambda options=options: losses.TripletLoss(**options),
        lambda x, options=options: oracles.triplet(x, LABELS, **options),
        (X,),
    )
every_loss = pytest.mark.parametrize("name", CASES)


def call(layer, arrays):
    """Calls a loss on its arrays, in the order that `takes` tells."""
    given = dict(zip([name for name in layer.takes if name not in ("labels", "genuine")], arrays, strict=True))
    return layer(*(given.get(name, GENUINE if name == "genuine" else LABELS) for name in layer.takes))


def value_and_gradients(layer, arrays, upstream=1.0):
    arrays = [tf.constant(array, tf.float32) for array in arrays]
    with tf.GradientTape() as tape:
        tape.watch(arrays)
        value = call(layer, arrays)
        total = tf.reduce_sum(value * tf.constant(upstream, tf.float32))
    return value.numpy(), tape.gradient(total, arrays, unconnected_gradients="zero")


@every_loss
def test_value_and_gradients_equal_the_oracle(name):
    make, oracle, arrays = CASES[name]
    expected = oracle(*arrays)
    upstream = np.linspace(0.5, 1.5, B) if np.ndim(expected) else 1.0
    value, gradients = value_and_gradients(ready(make()), arrays, upstream)
    assert value.shape == np.shape(expected)
    assert value.dtype == np.float32
    np.testing.assert_allclose(value, expected, rtol=2e-6, atol=2e-6)
    rng = np.random.default_rng(3)
    for _ in range(3):
        directions = [rng.normal(size=array.shape) for array in arrays]
        along = oracles.directional_derivative(lambda *at: np.sum(upstream * oracle(*at)), arrays, directions)
        got = sum(np.sum(g.numpy() * direction) for g, direction in zip(gradients, directions, strict=True))
        size = sum(np.sum(np.abs(g.numpy() * direction)) for g, direction in zip(gradients, directions, strict=True))
        np.testing.assert_allclose(got, along, rtol=1e-5, atol=1e-5 * size)


@every_loss
@pytest.mark.parametrize("x", [np.ones((B, D)), np.zeros((B, D)), np.repeat(rows(3), 4, axis=0)])
def test_identical_and_zero_vectors_have_finite_values_and_gradients(name, x):
    make, _, arrays = CASES[name]
    same = [np.stack([x, x], axis=1) if array.ndim == 3 else x[: len(array)] for array in arrays]
    value, gradients = value_and_gradients(ready(make()), same)
    assert np.isfinite(value).all()
    assert all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("name", ["intra", "inter"])
def test_angles_of_exactly_zero_and_pi(name):
    make, _, _ = CASES[name]
    weights = np.stack([np.eye(D)[0], -np.eye(D)[0]])[[0, 1, 0, 1, 0]]
    value, gradients = value_and_gradients(make(), [3 * weights[(LABELS + 1) % K], weights])
    assert np.isfinite(value).all()
    # The gradient of an angle is never longer than 1 / norm, also where it does not exist.
    assert all(np.abs(gradient).max() < B for gradient in gradients)
    same, _ = value_and_gradients(make(), [3 * weights[LABELS], weights])
    if name == "intra":
        np.testing.assert_allclose(same, 0, atol=2e-4)


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("triplet")])
@pytest.mark.parametrize("labels", [np.zeros(B, int), np.arange(B)], ids=["one_class", "all_distinct"])
@pytest.mark.parametrize("batch", [1, 2, B])
def test_triplets_of_one_class_and_of_distinct_classes(name, labels, batch):
    layer = CASES[name][0]()
    x = tf.constant(X[:batch], tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = layer(x, labels[:batch])
    expected = oracles.triplet(X[:batch], labels[:batch], 0.3, layer.mining, layer.distance, layer.soft)
    np.testing.assert_allclose(value, expected, rtol=2e-6, atol=2e-6)
    assert np.isfinite(tape.gradient(value, x)).all()


def test_semi_hard_falls_back_to_the_farthest_negative():
    x = np.array([[0.0], [5.0], [1.0], [2.0]])
    layer = losses.TripletLoss(margin=1.0, mining="semi_hard", distance="euclidean")
    # Anchor 0 (positive at 5): no negative beyond, the farthest is at 2; anchor 1: likewise at 4; 2 and 3: see oracle.
    got = layer(x, np.array([0, 0, 1, 1])).numpy()
    np.testing.assert_allclose(got, [5 - 2 + 1, 5 - 4 + 1, 0, 1 - 2 + 1])


def test_centers_move_by_the_averaged_rule():
    layer = losses.CenterLoss(K + 1, center_lr=0.25, centers_initializer="ones")
    layer.build((B, D))
    before = np.vstack([W, np.ones(D)])
    layer.centers.assign(before)
    first = layer(X, LABELS, training=True)
    np.testing.assert_allclose(first, oracles.center(X, LABELS, before), rtol=1e-5)
    np.testing.assert_allclose(layer.centers, oracles.moved_centers(X, LABELS, before, 0.25), rtol=1e-5, atol=1e-6)
    after = layer.centers.numpy()
    layer(X, LABELS)
    np.testing.assert_array_equal(layer.centers, after)
    assert not layer.trainable_weights


REPLICAS = """
import numpy as np
import tensorflow as tf
from tfface import losses

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    layer = losses.CenterLoss(3, center_lr=0.5)
    layer.build((2, 1))


def move():
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    x = tf.reshape(tf.stack([1.0, 1.0 + tf.cast(replica, tf.float32)]), [2, 1])
    layer(x, tf.stack([0, 1 + replica]), training=True)


tf.function(lambda: strategy.run(move))()
for copy in strategy.experimental_local_results(layer.centers.value):
    np.testing.assert_allclose(copy, [[1 / 3], [0.25], [0.5]], rtol=1e-6)
"""


def test_centers_move_by_the_batch_of_all_replicas():
    # Logical devices have to be set before TensorFlow starts, hence the process.
    subprocess.run([sys.executable, "-c", REPLICAS], check=True)


def test_radius_is_learned():
    layer = ready(losses.RingLoss(2.0))
    with tf.GradientTape() as tape:
        value = layer(X)
    (by_radius,) = tape.gradient(value, [layer.radius.value])
    np.testing.assert_allclose(by_radius, np.sum(2.0 - np.linalg.norm(X, axis=1)), rtol=1e-5)


def test_energy_of_a_random_subset_is_unbiased_and_changes():
    layer = losses.HypersphericalEnergy(1, sampled_classes=3, seed=4)
    values = np.array([layer(W) for _ in range(400)])
    subsets = [oracles.hyperspherical_energy(W[list(some)], 1) for some in itertools.combinations(range(K), 3)]
    np.testing.assert_allclose(np.unique(values.round(5)), np.unique(np.round(subsets, 5)), atol=2e-5)
    np.testing.assert_allclose(values.mean(), oracles.hyperspherical_energy(W, 1), atol=5 * values.std() / 20)
    more_than_all = losses.HypersphericalEnergy(1, sampled_classes=99)
    np.testing.assert_allclose(more_than_all(W), losses.HypersphericalEnergy(1)(W), rtol=1e-6)


def test_distances_and_pairs_of_embeddings_cost_the_same():
    layer = losses.ContrastiveLoss()
    distances = np.linalg.norm(PAIRS[:, 0] - PAIRS[:, 1], axis=1)
    np.testing.assert_allclose(layer(distances, GENUINE), layer(PAIRS, GENUINE == 1), rtol=1e-5)


@pytest.mark.parametrize("labels", [np.zeros(B, int), np.arange(B)], ids=["one_class", "all_distinct"])
@pytest.mark.parametrize("batch", [1, 2, B])
def test_pairs_of_one_class_and_of_distinct_classes(labels, batch):
    layer = losses.ContrastiveLoss(2.0, mining="all")
    expected = oracles.contrastive_of_batch(X[:batch], labels[:batch], 2.0, "euclidean")
    np.testing.assert_allclose(layer(X[:batch], labels[:batch]), expected, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("mining", ["batch_hard", "semi_hard", "all"])
def test_xla_and_a_batch_of_unknown_size(mining):
    layer, x = losses.TripletLoss(mining=mining), X.astype(np.float32)
    signature = [tf.TensorSpec([None, D]), tf.TensorSpec([None], tf.int64)]
    np.testing.assert_allclose(tf.function(layer, input_signature=signature)(x, LABELS), layer(x, LABELS), rtol=1e-5)
    compiled = tf.function(layer, jit_compile=True)(x, LABELS)
    np.testing.assert_allclose(compiled, layer(x, LABELS), rtol=1e-5, atol=1e-6)


def test_xla_of_a_random_subset():
    layer = losses.HypersphericalEnergy(sampled_classes=3)
    assert np.isfinite(tf.function(layer, jit_compile=True)(W.astype(np.float32)))


@every_loss
def test_half_precision_policy_leaves_float32(name):
    make, oracle, arrays = CASES[name]
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        layer = ready(make())
    finally:
        keras.config.set_dtype_policy(policy)
    value = call(layer, arrays)
    assert value.dtype == tf.float32
    np.testing.assert_allclose(value, oracle(*arrays), rtol=2e-6, atol=2e-6)
    half = [tf.cast(array, tf.float16) for array in arrays]
    assert call(layer, half).dtype == tf.float32


@every_loss
def test_config_round_trip(name):
    layer = CASES[name][0]()
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert again.get_config() == layer.get_config()
    assert set(layer.get_config()) >= set(type(layer).__init__.__code__.co_varnames) - {"self", "kwargs", "__class__"}


def every_term():
    return [
        (0.1, losses.IntraLoss()),
        (0.2, losses.InterLoss()),
        (0.3, losses.CenterLoss(K)),
        (0.4, losses.RingLoss(2.0)),
        (0.5, losses.TripletLoss(mining="semi_hard")),
        (0.5, losses.ContrastiveLoss(mining="all")),
        (0.6, losses.HypersphericalEnergy()),
    ]


def test_head_with_losses_is_the_weighted_sum_and_survives_a_file(tmp_path):
    inputs = keras.Input((D,)), keras.Input((), dtype="int64")
    layer = heads.HeadWithLosses(heads.ArcFace(K), every_term())
    model = keras.Model(inputs, layer(*inputs))
    layer.head.set_class_weights(W)
    x = X.astype(np.float32)
    model([x, LABELS], training=True)
    assert np.abs(layer.terms[2].centers).max() > 0
    expected = layer.head(x, LABELS)
    for weight, loss in zip(layer.weights_of_terms, layer.terms, strict=True):
        given = {"embeddings": x, "labels": LABELS, "class_weights": layer.head.class_weights}
        expected += weight * loss(*(given[name] for name in loss.takes))
    before = model([x, LABELS])
    np.testing.assert_allclose(before, expected, rtol=1e-6)
    assert {weight.name for weight in model.trainable_weights} == {"class_weights", "radius"}

    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again([x, LABELS]), before, rtol=1e-6)
    # The terms still see the class weights of the loaded head.
    for each in (model, again):
        each.layers[-1].head.set_class_weights(rows(K, seed=9))
    np.testing.assert_allclose(again([x, LABELS]), model([x, LABELS]), rtol=1e-6)
    assert np.abs(again([x, LABELS]) - before).max() > 0.1


def test_weighted_sum_in_a_functional_model(tmp_path):
    embeddings, labels = keras.Input((D,)), keras.Input((), dtype="int64")
    head, triplet, center = heads.ArcFace(K), losses.TripletLoss(), losses.CenterLoss(K)
    model = keras.Model(
        [embeddings, labels],
        head(embeddings, labels) + 0.1 * triplet(embeddings, labels) + 0.01 * center(embeddings, labels),
    )
    x = X.astype(np.float32)
    tf.function(lambda: model([x, LABELS], training=True), jit_compile=False)()
    assert np.abs(center.centers).max() > 0
    expected = head(x, LABELS) + 0.1 * triplet(x, LABELS) + 0.01 * center(x, LABELS)
    np.testing.assert_allclose(model([x, LABELS]), expected, rtol=1e-6)
    model.save(tmp_path / "model.keras")
    np.testing.assert_allclose(keras.models.load_model(tmp_path / "model.keras")([x, LABELS]), expected, rtol=1e-6)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: losses.TripletLoss(margin=-1), "margin must be finite and at least 0, got -1"),
        (lambda: losses.TripletLoss(margin=float("nan")), "got nan"),
        (lambda: losses.TripletLoss(mining="hard"), "mining must be one of .*; got 'hard'"),
        (lambda: losses.TripletLoss(distance="L2"), "distance must be one of .*; got 'L2'"),
        (lambda: losses.ContrastiveLoss(margin=float("inf")), "got inf"),
        (lambda: losses.ContrastiveLoss(mining="hard"), "mining must be one of None, 'all'; got 'hard'"),
        (lambda: losses.ContrastiveLoss(1, "all", "L2"), "distance must be one of .*; got 'L2'"),
        (lambda: losses.ContrastiveLoss(distance="angular"), "pass mining='all'; got distance='angular'"),
        (lambda: losses.ContrastiveLoss(mining="all")(X, X), r"labels must be integers, got float"),
        (lambda: losses.CenterLoss(0), "num_classes .* got 0"),
        (lambda: losses.CenterLoss(3, center_lr=2), "center_lr must be in .*, got 2"),
        (lambda: losses.RingLoss(0), "initial_radius .* got 0"),
        (lambda: losses.HypersphericalEnergy(3), "power must be one of 0, 1, 2; got 3"),
        (lambda: losses.HypersphericalEnergy(sampled_classes=1), "sampled_classes .* got 1"),
        (lambda: heads.HeadWithLosses(heads.ArcFace(3), [(1, losses.ContrastiveLoss())]), "got <ContrastiveLoss"),
        (lambda: losses.TripletLoss()(X[0], LABELS), r"embeddings .* got shape \(6,\)"),
        (lambda: losses.TripletLoss()(X, LABELS.astype(np.float32)), "labels must be integers, got float32"),
        (lambda: losses.TripletLoss()(X, LABELS[:, None]), r"labels must have shape \[B\], got \(12, 1\)"),
        (lambda: losses.IntraLoss()(X, LABELS, W[0]), r"class_weights .* got shape \(6,\)"),
        (lambda: losses.InterLoss()(X, LABELS, W[:1]), r"at least 2 classes, got shape \(1, 6\)"),
        (lambda: losses.HypersphericalEnergy()(W[:1]), r"at least 2 classes, got shape \(1, 6\)"),
        (lambda: losses.ContrastiveLoss()(X, GENUINE), r"pairs must have shape .*, got \(12, 6\)"),
        (lambda: losses.ContrastiveLoss()(X[:, 0], GENUINE[:, None]), r"genuine must have shape \[B\], got \(12, 1\)"),
    ],
)
def test_wrong_values_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("make", [losses.IntraLoss, losses.InterLoss, lambda: losses.CenterLoss(K)])
@pytest.mark.parametrize("label", [-1, K])
def test_labels_out_of_range_are_named(make, label):
    layer = make()
    arrays = (X[:1], np.array([label]), W)[: len(layer.takes)]
    with pytest.raises(tf.errors.InvalidArgumentError, match=str(label)):
        layer(*arrays)
