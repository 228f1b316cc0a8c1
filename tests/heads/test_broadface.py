"""BroadFace against the paper's equations in NumPy, on one device and on several."""

import functools
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfface
from tfface import heads
from tfface.classifier.engine import Engine
from tfface.classifier.samplers.uniform import with_batch
from tfface.distribute.collectives import replica_count, replica_index
from tfface.distribute.partitioned_variable import class_ranges
from tfface.heads.broadface import BroadFace
from tfface.heads.with_losses import HeadWithLosses
from tfface.training.checkpoints.saving import Checkpoints
from tfface.training.checkpoints.warm_start import warm_start, write_identities

CLASSES, DIM, INPUTS = 7, 5, 6
START = keras.initializers.RandomNormal(stddev=0.5, seed=3)


def make_model(head, seed=1):
    keras.utils.set_random_seed(seed)
    encoder = keras.Sequential([keras.Input((INPUTS,)), keras.layers.Dense(DIM, use_bias=False)])
    model = tfface.FaceModel(encoder, head)
    model.compile(optimizer=keras.optimizers.SGD(0.1, momentum=0.5))
    model.optimizer.build(model.trainable_variables)
    return model


def batches(steps, size, seed=0):
    rng = np.random.default_rng(seed)
    return [(rng.normal(size=(size, INPUTS)).astype(np.float32), rng.integers(0, CLASSES, size)) for _ in range(steps)]


def contents(queue):
    """Embeddings, rows and class weights of a queue of one replica, from the oldest to the newest."""
    pushed, size = int(queue.pushed.numpy()[0]), queue.size
    order = np.arange(max(0, pushed - size), pushed) % size
    values = (queue.embeddings, queue.rows, queue.class_weights)
    return [value.numpy()[order] for value in values if value is not None]


# The oracle: Eqs. 7-9 in float64, derivatives by complex steps


def arcface(embeddings, weights, labels, scale=8.0, margin=0.3):
    return softmax(embeddings, weights, labels, scale, lambda cosine: np.cos(np.arccos(cosine + 0j) + margin))


def cosface(embeddings, weights, labels, scale=8.0, margin=0.35):
    return softmax(embeddings, weights, labels, scale, lambda cosine: cosine - margin)


def softmax(embeddings, weights, labels, scale, psi):
    embeddings, weights = (rows / np.sqrt(np.sum(rows * rows, axis=1, keepdims=True)) for rows in (embeddings, weights))
    logits = scale * (embeddings @ weights.T).astype(complex)
    examples = np.arange(len(labels))
    logits[examples, labels] = scale * psi(logits[examples, labels] / scale)
    return np.log(np.sum(np.exp(logits - logits[examples, labels][:, None]), axis=1))


# Without its fallback, which the oracle lacks.
ARCFACE = functools.partial(heads.ArcFace, overflow="none")


class Oracle:
    """A linear encoder and class weights, trained by SGD with momentum."""

    def __init__(self, loss, kernel, weights, queue_size, compensate):
        self.loss, self.queue_size, self.compensate = loss, queue_size, compensate
        self.kernel, self.weights = kernel.astype(np.float64), weights.astype(np.float64)
        self.momentums = [0.0, 0.0]
        self.queue = []

    def step(self, x, labels):
        x, h = x.astype(np.float64), 1e-30
        embeddings = x @ self.kernel
        moved = np.array([self.moved(*past) for past in self.queue]).reshape(-1, DIM)
        union = np.concatenate([embeddings, moved])
        union_labels = np.concatenate([labels, [label for _, label, _ in self.queue]]).astype(int)
        by_embeddings = np.empty_like(embeddings)
        for column in range(DIM):
            step = 1j * h * np.eye(DIM)[column]
            by_embeddings[:, column] = self.loss(embeddings + step, self.weights, labels).imag / h / len(labels)
        by_weights = np.empty_like(self.weights)
        for place in np.ndindex(self.weights.shape):
            weights = self.weights.astype(complex)
            weights[place] += 1j * h
            by_weights[place] = np.mean(self.loss(union, weights, union_labels).imag / h)
        loss = np.mean(self.loss(embeddings, self.weights, labels).real)
        self.queue += [(e, y, self.weights[y].copy()) for e, y in zip(embeddings, labels, strict=True)]
        self.queue = self.queue[-self.queue_size :]
        gradients = x.T @ by_embeddings, by_weights
        self.momentums = [0.5 * old - 0.1 * new for old, new in zip(self.momentums, gradients, strict=True)]
        self.kernel, self.weights = self.kernel + self.momentums[0], self.weights + self.momentums[1]
        return loss

    def moved(self, embedding, label, then):
        if not self.compensate:
            return embedding
        return embedding + np.linalg.norm(embedding) / np.linalg.norm(then) * (self.weights[label] - then)


@pytest.mark.parametrize("compensate", [True, False])
@pytest.mark.parametrize(
    "make, loss, queue_size, batch_size",
    [
        (ARCFACE, arcface, 10, 5),
        (ARCFACE, arcface, 13, 5),
        (heads.CosFace, cosface, 3, 5),
        (heads.CosFace, cosface, 1000, 4),
    ],
)
def test_twenty_steps_of_the_equations(make, loss, queue_size, batch_size, compensate):
    margin = loss.__defaults__[1]
    head = BroadFace(make(CLASSES, scale=8.0, margin=margin, class_weights_initializer=START), queue_size, compensate)
    model = make_model(head)
    kernel = model.encoder.variables[0]
    oracle = Oracle(loss, kernel.numpy(), head.class_weights.numpy(), queue_size, compensate)
    for x, labels in batches(20, batch_size):
        before, old = kernel.numpy(), oracle.kernel
        assert model.train_on_batch(x, labels) == pytest.approx(oracle.step(x, labels), rel=2e-5)
        model.reset_metrics()
        # The encoder's own step too: what is wrong with it can be small beside the weights.
        moved = oracle.kernel - old
        np.testing.assert_allclose(kernel.numpy() - before, moved, atol=1e-4 * np.abs(moved).max())
        np.testing.assert_allclose(head.class_weights.numpy(), oracle.weights, rtol=2e-5, atol=2e-6)
        embeddings, rows, *weights = contents(head.queue)
        past_embeddings, past_labels, past_weights = zip(*oracle.queue, strict=True)
        np.testing.assert_array_equal(rows, past_labels)
        np.testing.assert_allclose(embeddings, past_embeddings, rtol=2e-5, atol=1e-5)
        if compensate:
            np.testing.assert_allclose(weights[0], past_weights, rtol=2e-5, atol=2e-6)


# Any head

EVERY = {
    "AdaFace": {},
    "ArcFace": {},
    "CircleLoss": {"scale": 64.0},
    "CoCo": {},
    "CombinedMargin": {},
    "CosFace": {},
    "CurricularFace": {},
    "DSoftmax": {},
    "DSoftmaxB": {"rows": 100},
    "DSoftmaxK": {"sampling_rate": 1.0},
    "MagFace": {},
    "NormSoftmax": {},
    "RandArcFace": {"sampling_rate": 1.0},
    "RandSoftmax": {"sampling_rate": 1.0},
    "Softmax": {},
    "SphereFace": {},
    "SphereFace2": {},
    "SubCenterArcFace": {"sub_centers": 2},
}


def test_every_head_is_here():
    exported = [getattr(heads, name) for name in heads.COMPONENTS]
    assert set(EVERY) == {
        head.__name__
        for head in exported
        if isinstance(head, type)
        and issubclass(head, heads.ClassificationHead)
        and head is not heads.ClassificationHead
    }


# Those that do more than to hand cosines to the engine; the others are slow only in their number.
SPECIAL = {
    "AdaFace",
    "ArcFace",
    "CurricularFace",
    "DSoftmaxB",
    "RandArcFace",
    "Softmax",
    "SphereFace2",
    "SubCenterArcFace",
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in SPECIAL else [pytest.mark.slow]) for name in EVERY]
)
def test_gradients_of_every_head(name):
    """Embeddings get what the bare head gives them; the head's variables the mean over batch and compensated queue."""
    make = getattr(heads, name)
    head = BroadFace(make(CLASSES, class_weights_initializer=START, **EVERY[name]), queue_size=8)
    bare = make(CLASSES, class_weights_initializer=START, **EVERY[name])
    rng = np.random.default_rng(0)
    first, batch = (tf.constant(rng.normal(size=(size, DIM)), tf.float32) for size in (8, 4))
    first_labels, labels = rng.integers(0, CLASSES, 8), rng.integers(0, CLASSES, 4)
    for layer in (head, bare):
        layer.build(first.shape)
        layer(first, first_labels, training=True)
    old = bare.get_class_weights().reshape(CLASSES, bare.sub_centers, DIM)
    new = old + rng.normal(size=old.shape) * 0.1
    for layer in (head, bare):
        layer.class_weights.assign(new.reshape(-1, DIM))
    unit = old[first_labels] / np.linalg.norm(old[first_labels], axis=2, keepdims=True)
    nearest = np.argmax(np.einsum("bd,bsd->bs", first, unit), axis=1)
    then, now = old[first_labels, nearest], new[first_labels, nearest]
    ratio = np.linalg.norm(first, axis=1) / np.linalg.norm(then, axis=1)
    moved = (first.numpy() + ratio[:, None] * (now - then)).astype(np.float32)

    with tf.GradientTape(persistent=True) as tape:
        tape.watch(batch)
        losses = head(batch, labels, training=True)
        mean = tf.reduce_mean(losses)
        of_batch = bare(batch, labels, training=True)
        of_past = bare.call(moved, first_labels, training=None, reach="weights")
        both = (tf.reduce_sum(of_batch) + tf.reduce_sum(of_past)) / 12
        mean_of_batch = tf.reduce_mean(of_batch)
    np.testing.assert_array_equal(losses, of_batch)
    expected = tf.convert_to_tensor(tape.gradient(mean_of_batch, batch)).numpy()
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(tape.gradient(mean, batch), expected, rtol=1e-5, atol=1e-6)
    ours = tape.gradient(mean, [variable.value for variable in head.trainable_variables])
    for got, expected in zip(
        ours, tape.gradient(both, [variable.value for variable in bare.trainable_variables]), strict=True
    ):
        got, expected = tf.convert_to_tensor(got).numpy(), tf.convert_to_tensor(expected).numpy()
        assert np.abs(expected).max() > 1e-4
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["ArcFace", "RandArcFace", "CurricularFace", "SphereFace2"])
def test_a_queue_of_none_is_the_bare_head(name):
    def trained(wrap):
        model = make_model(wrap(getattr(heads, name)(CLASSES, class_weights_initializer=START, **EVERY[name])))
        losses = [model.train_on_batch(*batch) for batch in batches(5, 4)]
        return [losses, *(variable.numpy() for variable in model.variables)]

    for got, expected in zip(
        trained(lambda head: BroadFace(head, queue_size=0)), trained(lambda head: head), strict=True
    ):
        np.testing.assert_array_equal(got, expected)


def test_labels_of_the_queue_are_among_sampled_classes():
    head = BroadFace(heads.RandSoftmax(1000, sampling_rate=0.001), queue_size=6)
    head.build((None, DIM))
    x = np.random.default_rng(0).normal(size=(3, DIM)).astype(np.float32)
    head(x, np.array([1, 2, 3]), training=True)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(head(x, np.array([4, 5, 6]), training=True))
    gradient = tape.gradient(loss, head.class_weights.value)
    rows = set(gradient.indices.numpy())
    assert {1, 2, 3, 4, 5, 6} <= rows and len(rows) <= 8


def test_evaluation_leaves_the_queue_alone():
    model = make_model(BroadFace(heads.ArcFace(CLASSES), queue_size=6))
    x, labels = batches(1, 4)[0]
    model.train_on_batch(x, labels)
    before = [variable.numpy() for variable in model.head.queue.variables]
    loss = model.evaluate(x, labels, verbose=0)
    bare = heads.ArcFace(CLASSES)
    bare.build((None, DIM))
    bare.set_class_weights(model.head.class_weights.numpy())
    assert loss == pytest.approx(float(tf.reduce_mean(bare(model.encoder(x), labels))), rel=1e-6)
    for got, expected in zip(model.head.queue.variables, before, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_the_queue_costs_two_products(monkeypatch):
    """The queue's Q rows times the class weights, and back; a batch costs its three."""
    products, matmul = [], Engine._matmul

    def spy(self, a, b, **options):
        products.append({*a.shape, *b.shape} - {DIM, CLASSES})
        return matmul(self, a, b, **options)

    monkeypatch.setattr(Engine, "_matmul", spy)
    head = BroadFace(heads.ArcFace(CLASSES), queue_size=16)
    head.build((None, DIM))
    x, labels = tf.ones([3, DIM]), np.array([0, 1, 2])
    try:
        tf.config.run_functions_eagerly(True)
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_mean(head(x, labels, training=True))
        tape.gradient(loss, [x, head.class_weights.value])
    finally:
        tf.config.run_functions_eagerly(False)
    assert sorted(map(tuple, products)) == [(3,)] * 3 + [(16,)] * 2


# Several replicas


class FixedSampler:
    """Draws the same classes, however they are partitioned."""

    def __call__(self, labels, num_classes, seed, embeddings=None):
        start, stop = (
            (0, CLASSES) if num_classes == CLASSES else class_ranges(CLASSES, replica_count())[replica_index()]
        )
        drawn = tf.constant([k - start for k in (0, 2, 3, 5) if start <= k < stop] or [0], tf.int32)
        ordered = tf.sort(tf.cast(labels, tf.int32))
        return with_batch(drawn, tf.reduce_any(drawn[:, None] == ordered, axis=1), ordered, num_classes, "included")


def trained(head, examples, steps=12):
    """Losses and variables after some steps of batches of 12, the last of an epoch being what is left."""
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(examples, INPUTS)).astype(np.float32), rng.integers(0, CLASSES, examples)
    model = make_model(head)
    dataset = tf.data.Dataset.from_tensor_slices((x, labels)).batch(12).repeat()
    history = model.fit(dataset, steps_per_epoch=steps // 2, epochs=2, verbose=0)
    queue = {variable.name: variable.numpy() for variable in head.queue.variables}
    rows = np.column_stack([queue["rows"], queue["embeddings"], queue.get("class_weights", queue["embeddings"])])
    rows = rows[np.lexsort(rows.T[::-1].round(3))]
    variables = [variable.numpy() for variable in [*model.encoder.variables, *head.head.variables]]
    return [np.array(history.history["loss"]), rows, *variables, queue["pushed"].sum()]


CASES = {
    "replicated": ("ArcFace", None, {}),
    "partitioned": ("ArcFace", "replicas", {}),
    "not compensated": ("ArcFace", "replicas", {"compensate": False}),
    "SphereFace2": ("SphereFace2", "replicas", {}),
    "sub-centers": ("SubCenterArcFace", "replicas", {}),
    "Softmax": ("Softmax", "replicas", {}),
    "sampled": ("RandArcFace", "replicas", {}),
    "sampled, host": ("RandArcFace", "host", {}),
}
_one_device = {}
FAST = {("replicated", 2, True), ("sampled", 2, True), ("partitioned", 2, False)}


def grid():
    for case, replicas, full in itertools.product(CASES, (2, 4), (True, False)):
        marks = [] if (case, replicas, full) in FAST else [pytest.mark.slow]
        yield pytest.param(case, replicas, full, marks=marks, id=f"{case}-{replicas}-{'full' if full else 'filling'}")


@pytest.mark.parametrize("case, replicas, full", list(grid()))
def test_replicas_are_one_device_with_their_queues_side_by_side(case, replicas, full, mirrored):
    name, partition, options = CASES[case]
    # Full queues are like one queue only with equal batches; filling ones get batches of 12, 12, 12 and 7.
    total, examples = (24, 36) if full else (480, 43)

    def make(partition, queue_size):
        settings = {**EVERY[name], "class_weights_initializer": START, "partition": partition}
        if name not in ("Softmax", "SphereFace2"):
            settings["scale"] = 8.0
        head = getattr(heads, name)(CLASSES, **settings)
        head.sampler = FixedSampler() if head.sampler else None
        return BroadFace(head, queue_size, **options)

    # The reference on one device serves all numbers of replicas.
    key = name, str(options), full
    if key not in _one_device:
        _one_device[key] = trained(make(None, total), examples)
    with mirrored(replicas).scope():
        parallel = trained(make(partition, total // replicas), examples)
    for got, wanted in zip(parallel, _one_device[key], strict=True):
        np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=2e-5)


# Coming back


@pytest.mark.parametrize(
    "replicas, partition", [(1, None), pytest.param(2, None, marks=pytest.mark.slow), (3, "replicas")]
)
def test_resumed_training_is_the_uninterrupted_one(replicas, partition, tmp_path, mirrored):
    data = batches(8, 6)

    def model(seed):
        # Before the head, whose sampler takes its seed from Keras.
        keras.utils.set_random_seed(seed)
        head = heads.RandArcFace(CLASSES, sampling_rate=0.5, partition=partition)
        return make_model(BroadFace(head, queue_size=10), seed)

    with mirrored(replicas).scope():
        whole = model(1)
        curve = [np.mean(whole.train_on_batch(*batch)) for batch in data if whole.reset_metrics() is None]
        interrupted = model(1)
        for batch in data[:4]:
            interrupted.train_on_batch(*batch)
        Checkpoints(tmp_path, interrupted).save(4)
        resumed = model(2)
        assert Checkpoints(tmp_path, resumed).restore() == 4
        rest = [np.mean(resumed.train_on_batch(*batch)) for batch in data[4:] if resumed.reset_metrics() is None]
        np.testing.assert_array_equal(rest, curve[4:])
        for got, expected in zip(resumed.head.variables, whole.head.variables, strict=True):
            np.testing.assert_array_equal(got.numpy(), expected.numpy())
    with mirrored(4).scope(), pytest.raises(ValueError, match="queue|rows|pushed"):
        Checkpoints(tmp_path, model(1)).restore()


def test_a_saved_model_has_its_queue(tmp_path):
    model = make_model(BroadFace(heads.CosFace(CLASSES, margin=0.2), queue_size=6, compensate=False))
    data = batches(4, 4)
    for batch in data[:3]:
        model.train_on_batch(*batch)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert (loaded.head.queue_size, loaded.head.compensate, loaded.head.head.margin) == (6, False, 0.2)
    for one in (model, loaded):
        one.reset_metrics()
        one.train_on_batch(*data[3])
    for got, expected in zip(loaded.variables, model.variables, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_it_begins_with_the_class_weights_of_a_run_without_queue(tmp_path):
    names = [str(number) for number in range(CLASSES)]
    softmax = make_model(heads.Softmax(CLASSES))
    Checkpoints(tmp_path / "checkpoints", softmax).save(0)
    write_identities(tmp_path, names)
    model = make_model(BroadFace(heads.RandArcFace(CLASSES), queue_size=6), seed=2)
    warm_start(model, names, tmp_path)
    np.testing.assert_array_equal(model.head.class_weights.numpy(), softmax.head.get_class_weights())


def test_with_losses_beside_it():
    broadface = BroadFace(heads.ArcFace(CLASSES), queue_size=6)
    head = HeadWithLosses(broadface, [(0.1, tfface.losses.InterLoss())])
    model = make_model(head)
    model.train_on_batch(*batches(1, 4)[0])
    assert broadface.queue.pushed.numpy() == [4]


@pytest.mark.parametrize(
    "head, size", [(lambda: keras.layers.Dense(3), 4), (lambda: heads.ArcFace(3), -1), (lambda: heads.ArcFace(3), 1.5)]
)
def test_what_cannot_be_is_refused(head, size):
    with pytest.raises(ValueError, match="wraps a head of classes|queue_size must be"):
        BroadFace(head(), size)
