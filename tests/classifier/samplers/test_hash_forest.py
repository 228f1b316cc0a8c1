"""The forest of hyperplane trees: its leaves, the near classes it finds, and training with it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfface.classifier.samplers.hash_forest import HashForestSampler
from tfface.classifier.samplers.uniform import UniformSampler
from tfface.heads.arcface import ArcFace
from tfface.heads.subcenter_arcface import SubCenterArcFace
from tfface.training.callbacks.rebuild_forest import RebuildForest

CLUSTERS, IN_CLUSTER, DIMENSION = 200, 20, 32
CLASSES = CLUSTERS * IN_CLUSTER
BATCH = 16
SEED = tf.constant([1, 2])


def unit(x):
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


def clustered(seed):
    """Class weights of any norm in clusters, and labels and embeddings near some of them."""
    random = np.random.default_rng(seed)
    centers = random.normal(size=(CLUSTERS, 1, DIMENSION))
    weights = centers + 0.4 * random.normal(size=(CLUSTERS, IN_CLUSTER, DIMENSION))
    weights = weights.reshape(CLASSES, DIMENSION).astype(np.float32)
    labels = random.integers(CLASSES, size=BATCH)
    embeddings = weights[labels] + 0.3 * random.normal(size=(BATCH, DIMENSION))
    return weights, labels, embeddings.astype(np.float32)


def small(built=True, batch_classes="included", rate=0.2, num_classes=100):
    sampler = HashForestSampler(rate, trees=3, leaf_size=8, batch_classes=batch_classes)
    random = np.random.default_rng(0)
    if built:
        sampler.rebuild(random.normal(size=(num_classes, 5)))
    embeddings = tf.constant(random.normal(size=(4, 5)), tf.float32)
    return lambda seed: sampler(tf.constant([7, 3, 7, 99]), num_classes, tf.stack([seed, seed + 1]), embeddings)


@pytest.mark.parametrize("built", [False, True])
def test_every_class_stands_in_one_place_at_most_and_the_batch_is_there(built):
    draw = small(built)
    for seed in range(20):
        sample = draw(seed)
        classes = sample.classes.numpy()
        real = classes[classes >= 0]
        assert len(np.unique(real)) == len(real) == 23
        assert {3, 7, 99} <= set(real)
        assert classes.shape == (24,)
        np.testing.assert_array_equal(sample.rows.numpy()[classes >= 0], real)
        np.testing.assert_array_equal(sample.counts, classes >= 0)
        assert sample.rows.numpy().min() >= 0 and sample.rows.numpy().max() < 100


def test_classes_of_the_batch_are_excluded_where_asked():
    sample = small(batch_classes="excluded")(0)
    counted = sample.classes.numpy()[sample.counts.numpy()]
    assert len(counted) == 20
    assert not {3, 7, 99} & set(counted)
    assert {3, 7, 99} <= set(sample.classes.numpy())


def test_rate_of_1_is_all_classes():
    classes = small(rate=1.0)(0).classes.numpy()
    assert sorted(classes[classes >= 0]) == list(range(100))


def test_before_the_first_rebuild_all_classes_come_up_equally_often():
    draw, counts = tf.function(small(built=False)), np.zeros(100)
    for seed in range(300):
        counts[draw(tf.constant(seed)).rows.numpy()[:20]] += 1
    others = np.delete(counts, [3, 7, 99])
    assert counts[[3, 7, 99]].sum() == 0
    # Six deviations of a binomial draw.
    share = 20 / 97
    assert np.abs(others - 300 * share).max() < 6 * np.sqrt(300 * share * (1 - share))


@pytest.mark.parametrize(("num_classes", "leaf_size"), [(2, 2), (5, 2), (16, 16), (37, 3), (64, 8), (1001, 32)])
def test_leaves_of_each_tree_hold_every_class_once_and_are_of_one_size(num_classes, leaf_size):
    sampler = HashForestSampler(0.1, trees=3, leaf_size=leaf_size)
    sampler.rebuild(np.random.default_rng(0).normal(size=(num_classes, 4)))
    for leaves in sampler.leaves.numpy():
        sizes = (leaves >= 0).sum(axis=1)
        assert sizes.max() <= leaf_size and np.ptp(sizes) <= 1
        assert sorted(leaves[leaves >= 0]) == list(range(num_classes))


def test_a_class_walks_to_its_own_leaf_whatever_its_norm():
    weights, _, _ = clustered(0)
    sampler = HashForestSampler(0.1)
    sampler.rebuild(weights)
    near = sampler.near_classes(tf.constant(7 * weights)).numpy()
    own = (near == np.arange(CLASSES)[:, None]).sum(axis=1)
    # Rounding may put a class on the other side of a threshold.
    assert (own == 4).mean() > 0.999


def test_the_walk_computes_no_matrix_of_int32():
    """TensorFlow computes these on the host, and a GPU would wait for them at every level."""
    sampler = HashForestSampler(0.2, trees=3, leaf_size=8)
    sampler.rebuild(np.random.default_rng(0).normal(size=(100, 5)))
    graph = tf.function(sampler.near_classes).get_concrete_function(tf.zeros([4, 5])).graph
    of_int32 = {
        operation.type
        for operation in graph.get_operations()
        if any(value.dtype == tf.int32 and (value.shape.rank or 0) > 1 for value in operation.outputs)
    }
    assert of_int32 == {"ReadVariableOp", "GatherV2"}


def test_classes_of_equal_weights_are_halved_too():
    sampler = HashForestSampler(0.1, leaf_size=4)
    sampler.rebuild(np.zeros([30, 3]))
    assert sorted(sampler.leaves.numpy()[0].ravel())[-30:] == list(range(30))
    assert np.isfinite(sampler.thresholds.numpy()).all()


@pytest.mark.parametrize(("trees", "times"), [(4, 3), (16, 6)])
def test_near_classes_are_found_more_often_than_by_chance(trees, times):
    weights, labels, embeddings = clustered(1)
    cosines = unit(embeddings) @ unit(weights).T
    cosines[np.arange(BATCH), labels] = -2
    nearest = np.argsort(-cosines, axis=1)[:, :10]
    forest = HashForestSampler(0.05, trees=trees)
    forest.rebuild(weights)
    shares = []
    for sampler in (forest, UniformSampler(0.05)):
        sample = sampler(tf.constant(labels), CLASSES, SEED, tf.constant(embeddings))
        shares.append(np.isin(nearest, sample.classes.numpy()[sample.counts.numpy()]).mean())
    assert shares[0] >= times * shares[1]
    assert shares[0] >= times * 0.05


def test_log_sum_of_negatives_is_nearer_to_that_of_all_classes():
    weights, labels, embeddings = clustered(2)
    exponents = 32 * unit(embeddings) @ unit(weights).T
    exponents[np.arange(BATCH), labels] = -np.inf
    full = np.logaddexp.reduce(exponents, axis=1)
    forest = HashForestSampler(0.1)
    forest.rebuild(weights)
    errors = []
    for sampler in (forest, UniformSampler(0.1)):
        sample = sampler(tf.constant(labels), CLASSES, SEED, tf.constant(embeddings))
        negatives = sample.classes.numpy()[sample.counts.numpy()]
        errors.append(np.mean(full - np.logaddexp.reduce(exponents[:, negatives], axis=1)))
    assert 0 < errors[0] < 0.5 * errors[1]


def test_equal_weights_and_seeds_repeat():
    weights, labels, embeddings = clustered(3)
    samples = []
    for forest_seed, seed in ((0, SEED), (0, SEED), (0, SEED + 1), (1, SEED)):
        sampler = HashForestSampler(0.1, seed=forest_seed)
        sampler.rebuild(tf.constant(weights))
        samples.append(sampler(tf.constant(labels), CLASSES, seed, tf.constant(embeddings)).rows.numpy())
    np.testing.assert_array_equal(samples[0], samples[1])
    assert np.any(samples[0] != samples[2])
    assert np.any(samples[0] != samples[3])


def test_a_rebuild_is_seen_in_a_graph_without_a_new_trace():
    weights, labels, embeddings = clustered(4)
    sampler, traces = HashForestSampler(0.05), []
    sampler.build(CLASSES, DIMENSION)

    @tf.function
    def graph(labels, embeddings):
        traces.append(1)
        return sampler(labels, CLASSES, SEED, embeddings).rows

    inputs = tf.constant(labels), tf.constant(embeddings)
    drawn = [graph(*inputs).numpy()]
    for class_weights in (weights, weights[::-1]):
        sampler.rebuild(class_weights)
        drawn.append(graph(*inputs).numpy())
        np.testing.assert_array_equal(drawn[-1], sampler(inputs[0], CLASSES, SEED, inputs[1]).rows)
    assert len(traces) == 1
    assert np.any(drawn[0] != drawn[1]) and np.any(drawn[1] != drawn[2])


def test_a_graph_may_make_the_first_call():
    weights, labels, embeddings = clustered(4)
    sampler = HashForestSampler(0.05)
    graph = tf.function(lambda: sampler(tf.constant(labels), CLASSES, SEED, tf.constant(embeddings)).rows)
    before = graph().numpy()
    sampler.rebuild(weights)
    assert np.any(graph() != before)


def test_arcface_trains_and_the_callback_rebuilds():
    keras.utils.set_random_seed(0)
    weights, _, _ = clustered(5)
    labels = np.random.default_rng(0).integers(100, size=64)
    head = ArcFace(100, scale=16.0, margin=0.2, sampler=HashForestSampler(0.1, leaf_size=4))
    x, y = keras.Input([DIMENSION]), keras.Input([], dtype="int32")
    model = keras.Model([x, y], head(keras.layers.Dense(16)(x), y))
    model.compile("adam", loss=lambda _, losses: losses)
    callback = RebuildForest(head, every=3)
    rebuild, directions = callback.rebuild, []

    def counted():
        rebuild()
        directions.append(head.sampler.directions.numpy())

    callback.rebuild = counted
    inputs = [weights[labels], labels]
    history = model.fit(inputs, labels, batch_size=16, epochs=5, callbacks=[callback], verbose=0).history["loss"]
    assert history[-1] < history[0]
    # At the beginning and after batches 3, 6, ..., 18 of the 20.
    assert len(directions) == 7
    assert np.any(directions[0] != directions[-1])
    assert type(head).from_config(head.get_config()).sampler.get_config() == head.sampler.get_config()


def test_sub_centers_stand_as_one_class():
    head = SubCenterArcFace(50, sampler=HashForestSampler(0.2, leaf_size=4))
    embeddings = tf.random.stateless_normal([4, 8], SEED)
    head(embeddings, tf.constant([0, 1, 2, 49]))
    RebuildForest(head).on_train_begin()
    assert sorted(set(head.sampler.leaves.numpy()[0].ravel()) - {-1}) == list(range(50))
    assert np.isfinite(head(embeddings, tf.constant([0, 1, 2, 49]))).all()


def test_config():
    config = {"rate": 0.3, "trees": 2, "leaf_size": 5, "batch_classes": "excluded", "seed": 4}
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(HashForestSampler(**config)))
    assert again.get_config() == config


@pytest.mark.parametrize(
    "options",
    [{"rate": 0}, {"rate": float("nan")}, {"trees": 0}, {"leaf_size": 1}, {"seed": -1}, {"batch_classes": "no"}],
)
def test_impossible_options_are_named(options):
    (value,) = options.values()
    with pytest.raises(ValueError, match=f"got {value!r}"):
        HashForestSampler(**{"rate": 0.1, **options})


def test_impossible_weights_and_callbacks_are_named():
    sampler = HashForestSampler(0.1)
    with pytest.raises(ValueError, match=r"must have shape \[K, d\], got \(3,\)"):
        sampler.rebuild(np.ones(3))
    sampler.rebuild(np.ones([10, 3]))
    with pytest.raises(ValueError, match=r"\(10, 3\), got \(11, 3\)"):
        sampler.rebuild(np.ones([11, 3]))
    with pytest.raises(ValueError, match="a forest to rebuild"):
        RebuildForest(ArcFace(10, sampler=UniformSampler(0.1)))
    with pytest.raises(ValueError, match="got 0"):
        RebuildForest(ArcFace(10, sampler=sampler), every=0)
