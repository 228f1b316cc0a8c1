"""One battery that every head runs through; a new head adds one line to HEADS, its oracle."""

import dataclasses
import functools
import inspect
from collections.abc import Callable

import keras
import numpy as np
import oracles
import pytest
import tensorflow as tf
from components import HEADS as NAMES

from tfface import heads

DIM = 16


def cross_entropy(target, negatives, problem):
    """Losses [B] of the logits of targets [B] and negatives [B, K - 1]."""
    return softplus(np.logaddexp.reduce(negatives, axis=1) - target)


def softplus(x):
    return np.logaddexp(0, x)


@dataclasses.dataclass
class Case:
    """A head, its oracle, and what the oracle must be told of the head's random choices or start."""

    head: type
    options: dict
    oracle: Callable  # (embeddings, class_weights, labels, **told) -> losses
    tell: Callable = lambda head, problem: {}
    loss_of_logits: Callable = cross_entropy  # (target, negatives, problem) -> losses
    weight_rows: int = 1  # of weights a class
    all_drawn: dict = dataclasses.field(default_factory=dict)  # options with which a step leaves nothing to chance
    tell_all: Callable | None = None  # what the oracle is told then; None: as `tell`
    outside_training: Callable | None = None  # the oracle there; None: as in training with `all_drawn`

    def make(self, num_classes, **options):
        return self.head(num_classes, **{**self.options, **options})

    def losses_of_all(self, head, problem):
        """Oracle of a training step with `all_drawn`."""
        told = (self.tell_all or self.tell)(head, problem)
        return self.oracle(problem.embeddings, problem.class_weights, problem.labels, **told)

    def losses_outside_training(self, head, problem):
        """Oracle of the head called with `training=False`."""
        if self.outside_training is None:
            return self.losses_of_all(head, problem).real
        return self.outside_training(problem.embeddings, problem.class_weights, problem.labels)


def case(head, oracle, tell=lambda head, problem: {}, oracle_options=None, **options):
    fields = {field.name for field in dataclasses.fields(Case)} & options.keys()
    fields = {name: options.pop(name) for name in fields}
    oracle = functools.partial(oracle, **(options if oracle_options is None else oracle_options))
    return Case(head, options, oracle, tell, **fields)


def bias_of(head, problem):
    return {"bias": float(head.bias)}


def drawn_classes(head, problem):
    """Real classes among those that the sampler drew; the oracle adds or removes those of the batch itself."""
    classes = head.sampler.last.rows.numpy()[: -len(problem.labels)]
    return {"classes": np.unique(classes)}


def rows_with_negatives(head, problem):
    """Finds which examples have an inter-class term from the losses themselves."""
    losses = run(head, problem).losses
    intra = oracles.dsoftmax_b(problem.embeddings, problem.class_weights, problem.labels, rows=[], scale=32.0)
    count = min(head.rows, len(problem.labels))
    rows = np.argsort(-np.abs(losses - intra))[:count]
    others = np.setdiff1d(np.arange(len(losses)), rows)
    np.testing.assert_allclose(losses[others], intra[others], rtol=1e-5, atol=1e-5)
    # The next call draws others, unless it starts where this one did.
    head.rows_seed.state.assign(head.rows_seed.state - tf.constant([0, 1], head.rows_seed.state.dtype))
    return {"rows": rows}


def all_rows(head, problem):
    return {"rows": range(len(problem.labels))}


def all_classes(head, problem):
    return {"classes": range(head.num_classes)}


def curricularface_at_zero(embeddings, class_weights, labels):
    """The oracle takes in the batch before it uses τ; outside of training the head does not, and its τ is still 0."""
    targets = oracles.cosines(embeddings, class_weights)[range(len(labels)), labels]
    return oracles.curricularface(embeddings, class_weights, labels, tau_before=-0.01 * targets.mean() / 0.99)


def with_norm_term(target, negatives, problem):
    norms = np.clip(np.linalg.norm(problem.embeddings, axis=1), 1.0, 8.0)
    return cross_entropy(target, negatives, problem) + 20.0 * (norms / 8.0**2 + 1 / norms)


def binary(positive, negative):
    """Losses of SphereFace2 with a factor for the target's part and one for that of the negatives."""
    return lambda target, negatives, problem: (
        positive * softplus(-target) + negative * np.sum(softplus(negatives), axis=1)
    )


def dissected(scale, inter=lambda target: 0.0):
    """Losses of D-Softmax, d = 0.9: `inter` gives what the negatives are compared with."""

    def losses(target, negatives, problem):
        total = np.logaddexp.reduce(negatives, axis=1)
        return softplus(scale * 0.9 - target) + softplus(total - inter(target))

    return losses


def arcface_32(target):
    return 32.0 * np.array([oracles.arcface_psi(cosine + 0j, 0.5).real for cosine in target / 32.0])


class Recorder:
    """A sampler that remembers its last sample."""

    def __init__(self, sampler):
        self.sampler = sampler

    def __call__(self, *arguments):
        self.last = self.sampler(*arguments)
        return self.last


PLAIN_SPHEREFACE2 = {"radius": 1.0, "margin": 0.0, "adjustment": 1.0}

HEADS = {
    "softmax": case(heads.Softmax, oracles.softmax),
    "norm_softmax": case(heads.NormSoftmax, oracles.norm_softmax, scale=16.0),
    "norm_softmax_128": case(heads.NormSoftmax, oracles.norm_softmax, scale=128.0),
    "coco": case(heads.CoCo, oracles.coco),
    "sphereface": case(heads.SphereFace, oracles.sphereface, margin=1.35),
    "sphereface_r": case(heads.SphereFace, oracles.sphereface, scale=30.0, margin=1.7),
    "sphereface_4": case(heads.SphereFace, oracles.sphereface, scale=30.0, margin=4.0, form="piecewise"),
    "sphereface_annealed": case(
        heads.SphereFace, oracles.sphereface, scale=30.0, margin=4.0, form="piecewise", annealing=10.0
    ),
    "cosface": case(heads.CosFace, oracles.cosface, scale=64.0, margin=0.35),
    "arcface": case(heads.ArcFace, oracles.arcface, scale=64.0, margin=0.5),
    "arcface_128": case(heads.ArcFace, oracles.arcface, scale=128.0, margin=0.3),
    "arcface_no_fallback": case(heads.ArcFace, oracles.arcface, scale=32.0, overflow="none"),
    "arcface_straight_through": case(heads.ArcFace, oracles.arcface, gradient="straight_through"),
    "combined_cm1": case(heads.CombinedMargin, oracles.combined_margin, **heads.CombinedMargin.CM1),
    "combined_cm2": case(heads.CombinedMargin, oracles.combined_margin, **heads.CombinedMargin.CM2),
    "subcenter_arcface": case(heads.SubCenterArcFace, oracles.subcenter_arcface, weight_rows=3, sub_centers=3),
    "circle": case(heads.CircleLoss, oracles.circle, scale=64.0),
    "curricularface": case(heads.CurricularFace, oracles.curricularface, outside_training=curricularface_at_zero),
    "magface": case(heads.MagFace, oracles.magface, loss_of_logits=with_norm_term, lower_norm=1.0, upper_norm=8.0),
    "adaface": case(heads.AdaFace, oracles.adaface),
    "sphereface2": case(heads.SphereFace2, oracles.sphereface2, bias_of, loss_of_logits=binary(0.7 / 30, 0.3 / 30)),
    "sphereface2_straight": case(
        heads.SphereFace2,
        oracles.sphereface2,
        bias_of,
        loss_of_logits=binary(0.7 / 30, 0.3 / 30),
        gradient="straight_through",
    ),
    "sphereface2_a": case(
        heads.SphereFace2,
        oracles.sphereface2,
        bias_of,
        loss_of_logits=binary(0.7 / 40, 0.3 / 40),
        margin_type="A",
        margin=0.5,
        radius=40.0,
    ),
    "sphereface2_m": case(
        heads.SphereFace2,
        oracles.sphereface2,
        bias_of,
        loss_of_logits=binary(0.7 / 40, 0.3 / 40),
        margin_type="M",
        margin=1.7,
        radius=40.0,
    ),
    "sphereface2_naive": case(
        heads.SphereFace2,
        oracles.sphereface2_ablation,
        loss_of_logits=binary(1.0, 1.0),
        oracle_options={"bias": 0.0, "pn": False, "eh": False, "am": False, "sa": False},
        balance=None,
        use_bias=False,
        **PLAIN_SPHEREFACE2,
    ),
    "dsoftmax": case(heads.DSoftmax, oracles.dsoftmax, loss_of_logits=dissected(64.0)),
    "dsoftmax_softmax": case(
        heads.DSoftmax,
        oracles.dsoftmax,
        loss_of_logits=dissected(32.0, lambda target: target),
        scale=32.0,
        inter="softmax",
    ),
    "dsoftmax_arcface": case(
        heads.DSoftmax, oracles.dsoftmax, loss_of_logits=dissected(32.0, arcface_32), scale=32.0, inter="arcface"
    ),
    "dsoftmax_b": case(
        heads.DSoftmaxB,
        oracles.dsoftmax_b,
        rows_with_negatives,
        loss_of_logits=dissected(32.0),
        all_drawn={"rows": 1000},
        tell_all=all_rows,
        oracle_options={"scale": 32.0},
        scale=32.0,
        rows=2,
    ),
    "dsoftmax_k": case(
        heads.DSoftmaxK,
        oracles.dsoftmax_k,
        drawn_classes,
        loss_of_logits=dissected(32.0),
        all_drawn={"sampling_rate": 1.0},
        tell_all=all_classes,
        outside_training=functools.partial(oracles.dsoftmax, scale=32.0),
        oracle_options={"scale": 32.0},
        scale=32.0,
        sampling_rate=0.25,
    ),
    "rand_softmax": case(
        heads.RandSoftmax,
        oracles.rand_norm_softmax,
        drawn_classes,
        all_drawn={"sampling_rate": 1.0},
        tell_all=all_classes,
        oracle_options={},
        sampling_rate=0.25,
    ),
    "rand_arcface": case(
        heads.RandArcFace,
        oracles.rand_arcface,
        drawn_classes,
        all_drawn={"sampling_rate": 1.0},
        tell_all=all_classes,
        oracle_options={},
        sampling_rate=0.25,
    ),
}
every_head = pytest.mark.parametrize("name", HEADS)

# A head for each way through the engine: log-sum and sum of the negatives, raw products, sub-centers, drawn classes.
# What only the engine knows of is tested with these in CI, and with the others among the slow tests.
WAYS = {"arcface", "sphereface2", "softmax", "subcenter_arcface", "dsoftmax_k"}


def in_ways(always, others):
    """Parameters (name, value): some values with every head, others with one of each way through the engine."""
    return [
        pytest.param(name, value, marks=[] if value in always or name in WAYS else [pytest.mark.slow])
        for name in HEADS
        for value in [*always, *others]
    ]


@dataclasses.dataclass
class Problem:
    """Inputs that float32 holds exactly, as float64."""

    embeddings: np.ndarray
    class_weights: np.ndarray
    labels: np.ndarray
    upstream: np.ndarray


def problem_for(name, num_classes, batch=6, seed=0, norms=None):
    rng = np.random.default_rng([seed, num_classes, batch])
    embeddings = rng.normal(size=(batch, DIM)) * (1.0 if norms is None else np.resize(norms, (batch, 1)))
    class_weights = rng.normal(size=(num_classes * HEADS[name].weight_rows, DIM))
    if name == "softmax":
        class_weights *= 0.5
    labels = rng.integers(0, num_classes, batch)
    # One example near its class, one at an obtuse angle: the interesting ends of every margin. Not nearer than
    # |cos| = 0.96, because sin θ = sqrt(1 - cos²) loses the digits that float32 cosines do not have.
    for example, towards in ((0, 1), (-1, -1)):
        row = class_weights[labels[example] * HEADS[name].weight_rows]
        embeddings[example] = 0.3 * embeddings[example] / np.linalg.norm(embeddings[example]) * np.linalg.norm(row)
        embeddings[example] += towards * row
        if norms is not None:
            embeddings[example] *= norms[example]
    exact = [array.astype(np.float32).astype(np.float64) for array in (embeddings, class_weights)]
    return Problem(*exact, labels, np.linspace(0.5, 1.5, batch))


@dataclasses.dataclass
class Outcome:
    losses: np.ndarray
    by_embeddings: np.ndarray  # gradients of sum(upstream · losses)
    by_weights: np.ndarray
    by_bias: float


def run(head, problem):
    embeddings = tf.constant(problem.embeddings, tf.float32)
    if not head.built:
        head.build(embeddings.shape)
    head.set_class_weights(problem.class_weights.astype(np.float32))
    if head.sampler is not None and not isinstance(head.sampler, Recorder):
        head.sampler = Recorder(head.sampler)
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        losses = head(embeddings, tf.constant(problem.labels), training=True)
        total = tf.reduce_sum(losses * tf.constant(problem.upstream, tf.float32))
    bias = getattr(head, "bias", None)
    sources = [embeddings, head.class_weights.value, *([bias.value] if hasattr(bias, "value") else [])]
    by_embeddings, by_weights, *by_bias = map(tf.convert_to_tensor, tape.gradient(total, sources))
    arrays = [np.asarray(array, np.float64) for array in (losses, by_embeddings, by_weights)]
    return Outcome(*arrays, float(by_bias[0]) if by_bias else 0.0)


@pytest.mark.parametrize("name, num_classes", in_ways([2, 10, 5000], [3, 1000]))
@pytest.mark.parametrize("norms", [None, [1e-6, 1e-3, 1.0, 1e3, 1e6]], ids=["norms_near_1", "norms_1e-6_to_1e6"])
def test_loss_and_gradients_equal_the_oracle(name, num_classes, norms):
    if name == "softmax" and norms is not None:
        pytest.skip("raw products of 1e6 have no float32 digits after the point")
    problem = problem_for(name, num_classes, norms=norms)
    head = HEADS[name].make(num_classes)
    told = {}
    if name == "dsoftmax_b":
        told = rows_with_negatives(head, problem)
    got = run(head, problem)
    told = told or HEADS[name].tell(head, problem)
    oracle = functools.partial(HEADS[name].oracle, **told)
    inputs = problem.embeddings, problem.class_weights, problem.labels

    expected = oracle(*inputs).real
    np.testing.assert_allclose(got.losses, expected, rtol=1e-5, atol=1e-5)

    rng = np.random.default_rng(1)
    # Directions scaled with the embeddings: the gradient is proportional to 1/‖x‖.
    lengths = np.linalg.norm(problem.embeddings, axis=1, keepdims=True)
    for _ in range(3):
        direction_x = rng.normal(size=problem.embeddings.shape) * lengths
        direction_w = rng.normal(size=problem.class_weights.shape)
        along_x = oracles.directional_derivatives(oracle, *inputs, direction_x, np.zeros_like(direction_w))
        along_w = oracles.directional_derivatives(oracle, *inputs, np.zeros_like(direction_x), direction_w)
        # Relative to the largest of its kind: single components cancel, and float32 cannot keep their last digits.
        got_x = np.sum(got.by_embeddings * direction_x, axis=1)
        np.testing.assert_allclose(got_x, problem.upstream * along_x, rtol=1e-5, atol=1e-5 * np.abs(along_x).max())
        got_w = np.sum(got.by_weights * direction_w)
        np.testing.assert_allclose(got_w, problem.upstream @ along_w, rtol=1e-5, atol=1e-5 * np.abs(along_w).sum())
    if "bias" in told:
        moved = functools.partial(HEADS[name].oracle, bias=told["bias"] + 1e-20j)(*inputs).imag / 1e-20
        np.testing.assert_allclose(got.by_bias, problem.upstream @ moved, rtol=1e-5)


@pytest.mark.parametrize("name, chunk_size", in_ways([7], [1, 52, 53, 100]))
def test_chunks_change_nothing(name, chunk_size):
    if name == "dsoftmax_b":
        pytest.skip("draws its rows anew; its engine is that of dsoftmax")
    problem = problem_for(name, 53)
    keras.utils.set_random_seed(0)
    whole = run(HEADS[name].make(53), problem)
    keras.utils.set_random_seed(0)
    parts = run(HEADS[name].make(53, chunk_size=chunk_size), problem)
    for field in dataclasses.fields(Outcome):
        one, other = getattr(whole, field.name), getattr(parts, field.name)
        np.testing.assert_allclose(other, one, rtol=1e-6, atol=2e-6 * np.abs(one).max())


@pytest.mark.parametrize("name, chunk_size", in_ways([None], [10]))
def test_xla_changes_nothing(name, chunk_size):
    if name == "dsoftmax_b":
        pytest.skip("draws its rows anew; its engine is that of dsoftmax")
    problem = problem_for(name, 53)
    outcomes = []
    for options in ({"jit_compile": False}, {"jit_compile": True, "chunk_size": chunk_size}):
        keras.utils.set_random_seed(0)
        outcomes.append(run(HEADS[name].make(53, **options), problem))
    for field in dataclasses.fields(Outcome):
        one, other = [getattr(outcome, field.name) for outcome in outcomes]
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-5 * np.abs(one).max())


@every_head
def test_bfloat16_operands_are_near(name):
    if name == "dsoftmax_b":
        pytest.skip("draws its rows anew; its engine is that of dsoftmax")
    problem = problem_for(name, 53)
    outcomes = []
    for dtype in ("float32", "mixed_bfloat16"):
        keras.utils.set_random_seed(0)
        outcomes.append(run(HEADS[name].make(53, dtype=dtype), problem))
    exact, rounded = outcomes
    # bfloat16 keeps 8 bits: a cosine is off by up to 2^-8, a logit by that times the scale.
    scale = getattr(HEADS[name].make(53), "scale", 40.0)
    np.testing.assert_allclose(rounded.losses, exact.losses, rtol=2e-2, atol=2**-8 * scale)
    if scale > 64:
        return  # Single negatives change places at such a scale.
    for field in ("by_embeddings", "by_weights"):
        one, other = (getattr(outcome, field).ravel() for outcome in outcomes)
        assert one @ other > 0.98 * np.linalg.norm(one) * np.linalg.norm(other)


@pytest.mark.parametrize("name, chunk_size", in_ways([None], [10]))
def test_gradients_go_where_they_are_asked(name, chunk_size):
    problem = problem_for(name, 53)

    def gradients(reach):
        keras.utils.set_random_seed(0)
        head = HEADS[name].make(53, chunk_size=chunk_size)
        head.build((None, DIM))
        head.set_class_weights(problem.class_weights)
        embeddings = tf.constant(problem.embeddings, tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(embeddings)
            losses = head(embeddings, problem.labels, training=True, reach=reach)
        by = tape.gradient(losses, [embeddings, head.class_weights.value])
        return losses, *(None if value is None else tf.convert_to_tensor(value) for value in by)

    both, to_embeddings, to_weights = (gradients(reach) for reach in ("both", "embeddings", "weights"))
    for one in (to_embeddings, to_weights):
        np.testing.assert_allclose(one[0], both[0], rtol=1e-6)
    np.testing.assert_allclose(to_embeddings[1], both[1], rtol=1e-5, atol=1e-6 * np.abs(both[1]).max())
    np.testing.assert_allclose(to_weights[2], both[2], rtol=1e-5, atol=1e-6 * np.abs(both[2]).max())
    assert to_embeddings[2] is None or not np.any(to_embeddings[2])
    assert to_weights[1] is None or not np.any(to_weights[1])


@every_head
def test_cosines_of_exactly_one_and_minus_one(name):
    rows = HEADS[name].weight_rows
    problem = problem_for(name, 4, batch=2)
    problem.class_weights = np.eye(4 * rows, DIM)
    problem.embeddings = np.stack([problem.class_weights[0] * 3, -problem.class_weights[rows] * 0.5])
    problem.labels = np.array([0, 1])
    head = HEADS[name].make(4)
    got = run(head, problem)
    assert np.isfinite(got.by_embeddings).all() and np.isfinite(got.by_weights).all()
    if name in ("dsoftmax_b", "dsoftmax_k"):
        assert np.isfinite(got.losses).all()
        return
    told = HEADS[name].tell(head, problem)
    expected = HEADS[name].oracle(problem.embeddings, problem.class_weights, problem.labels, **told).real
    # sin θ at θ = 0 is known to 3.2e-4 in float32: the tolerance is that times the scale.
    scale = getattr(head, "scale", 40.0)
    np.testing.assert_allclose(got.losses, expected, rtol=1e-5, atol=3.2e-4 * scale * 4)


@every_head
def test_one_example_and_all_examples_of_one_class(name):
    if name in ("dsoftmax_b", "adaface"):
        pytest.skip("dsoftmax_b draws rows; a single example has no deviation for adaface")
    for batch, label in ((1, 2), (5, 3)):
        problem = problem_for(name, 7, batch)
        problem.labels[:] = label
        head = HEADS[name].make(7)
        got = run(head, problem)
        told = HEADS[name].tell(head, problem)
        expected = HEADS[name].oracle(problem.embeddings, problem.class_weights, problem.labels, **told).real
        np.testing.assert_allclose(got.losses, expected, rtol=1e-5, atol=1e-5)


@every_head
def test_zero_and_extreme_inputs_stay_finite(name):
    problem = problem_for(name, 5)
    problem.embeddings[0] = 0
    if name != "softmax":
        problem.embeddings[1] *= 1e30
        problem.embeddings[2] *= 1e-30
    problem.class_weights[-1] = 0
    got = run(HEADS[name].make(5), problem)
    assert np.isfinite(got.losses).all()
    assert np.isfinite(got.by_weights).all()
    assert np.isfinite(got.by_embeddings[[0, 1, 3, 4, 5]]).all()
    if name != "softmax":
        assert np.all(got.by_embeddings[0] == 0)


@every_head
def test_loss_follows_from_the_logits(name):
    head = HEADS[name].make(50)
    problem = problem_for(name, 50)
    # Outside of training nothing moves on, so that loss and logits see the same state.
    head.build((None, DIM))
    head.set_class_weights(problem.class_weights.astype(np.float32))
    embeddings = problem.embeddings.astype(np.float32)
    losses = head(embeddings, problem.labels, training=False)
    np.testing.assert_allclose(losses, HEADS[name].losses_outside_training(head, problem), rtol=1e-5, atol=1e-5)
    logits = np.asarray(head.logits(embeddings, problem.labels), np.float64)
    others = ~np.eye(50, dtype=bool)[problem.labels]
    target, negatives = logits[~others], logits[others].reshape(6, 49)
    np.testing.assert_allclose(
        losses, HEADS[name].loss_of_logits(target, negatives, problem), rtol=2e-5, atol=2e-5, err_msg="loss of logits"
    )
    # Some weigh or clip negatives too, or give them a margin.
    if HEADS[name].head.__name__ not in ("AdaFace", "CircleLoss", "CurricularFace", "SphereFace2"):
        plain = head.logits(embeddings).numpy()
        np.testing.assert_allclose(plain[others], logits[others], rtol=1e-6)


def stated_config(case, num_classes, **options):
    """The expected configuration of a head: the arguments that it was made with, and the defaults of others."""
    defaults = {}
    for parent in reversed(case.head.__mro__[: case.head.__mro__.index(heads.ClassificationHead) + 1]):
        if "__init__" not in vars(parent):
            continue
        # Of the constructor, because Keras 3.8 shows (*args, **kwargs) for a class without one of its own.
        parameters = list(inspect.signature(parent.__init__).parameters.values())[1:]
        defaults |= {each.name: each.default for each in parameters if each.kind is not each.VAR_KEYWORD}
    # These two are objects, which the test looks at by itself.
    del defaults["class_weights_initializer"], defaults["sampler"]
    if case.head is heads.CoCo:
        defaults["scale"] = np.log(num_classes - 1) / 2 + 3
    return {**defaults, **case.options, "num_classes": num_classes, **options}


@every_head
def test_config_states_what_the_head_was_made_with(name):
    options = {"chunk_size": 3, "jit_compile": False, "partition": "replicas", "name": "stated", "dtype": "bfloat16"}
    head = HEADS[name].make(9, class_weights_initializer="ones", **options)
    again = type(head).from_config(head.get_config())
    del options["dtype"]
    for config in (head.get_config(), again.get_config()):
        for key, value in stated_config(HEADS[name], 9, **options).items():
            assert config[key] == (pytest.approx(value) if isinstance(value, float) else value), key
    assert again.compute_dtype == "bfloat16"
    assert isinstance(again.class_weights_initializer, keras.initializers.Ones)
    assert type(again.sampler) is type(head.sampler)
    if head.sampler is not None:
        assert again.sampler.get_config() == head.sampler.get_config() and again.sampler.rate == 0.25


@every_head
def test_functional_model_saves_and_loads(name, tmp_path):
    problem = problem_for(name, 9)
    embeddings = problem.embeddings.astype(np.float32)
    inputs = keras.Input((DIM,)), keras.Input((), dtype="int64")
    head = HEADS[name].make(9)
    model = keras.Model(inputs, head(*inputs))
    head.set_class_weights(problem.class_weights.astype(np.float32))
    expected = HEADS[name].losses_outside_training(head, problem)
    model.save(tmp_path / "head.keras")
    # Nothing that is loaded may come from the first model.
    head.set_class_weights(np.zeros_like(problem.class_weights))
    again = keras.models.load_model(tmp_path / "head.keras")
    found = again([embeddings, problem.labels], training=False)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@every_head
def test_fit_in_a_functional_model_is_the_step_of_the_oracle(name):
    problem = problem_for(name, 9, batch=12)
    inputs = keras.Input((DIM,)), keras.Input((), dtype="int64")
    layer = keras.layers.Dense(DIM, use_bias=False)
    head = HEADS[name].make(9, **HEADS[name].all_drawn)
    model = keras.Model(inputs, head(layer(inputs[0]), inputs[1]))
    head.set_class_weights(problem.class_weights.astype(np.float32))
    # A rotation: the examples keep the angles of the problem.
    kernel = np.linalg.qr(np.random.default_rng(2).normal(size=(DIM, DIM)))[0].astype(np.float32)
    layer.set_weights([kernel])
    examples = problem.embeddings @ np.linalg.inv(kernel.astype(np.float64))
    model.compile(optimizer=keras.optimizers.SGD(1.0), loss=lambda _, losses: losses)
    data = [examples.astype(np.float32), problem.labels]

    def oracle(embeddings, class_weights, labels):
        moved = dataclasses.replace(problem, embeddings=embeddings, class_weights=class_weights)
        return HEADS[name].losses_of_all(head, moved)

    inputs = problem.embeddings, problem.class_weights, problem.labels
    expected = oracle(*inputs).real.mean()
    rng = np.random.default_rng(1)
    by_kernel = rng.normal(size=(3, DIM, DIM))
    by_weights = rng.normal(size=(3, *problem.class_weights.shape))
    no_x, no_w = np.zeros_like(problem.embeddings), np.zeros_like(problem.class_weights)
    slopes_kernel = [
        oracles.directional_derivatives(oracle, *inputs, examples @ each, no_w).mean() for each in by_kernel
    ]
    slopes_weights = [oracles.directional_derivatives(oracle, *inputs, no_x, each).mean() for each in by_weights]

    history = model.fit(data, np.zeros(12), batch_size=12, shuffle=False, verbose=0)
    np.testing.assert_allclose(history.history["loss"], [expected], rtol=1e-5)
    step = kernel - layer.get_weights()[0].astype(np.float64)
    np.testing.assert_allclose(
        [np.sum(step * each) for each in by_kernel], slopes_kernel, rtol=1e-3, atol=1e-4 * np.abs(slopes_kernel).max()
    )
    step = problem.class_weights - head.get_class_weights()
    np.testing.assert_allclose(
        [np.sum(step * each) for each in by_weights],
        slopes_weights,
        rtol=1e-3,
        atol=1e-4 * np.abs(slopes_weights).max(),
    )


def test_every_head_is_in_the_battery():
    assert {case.head.__name__ for case in HEADS.values()} == set(NAMES)


@every_head
def test_bad_input_is_refused_by_name(name):
    head = HEADS[name].make(4)
    x = np.ones((3, 8), np.float32)
    lowest = -1 if name.startswith("sphereface2") else 0
    with pytest.raises(tf.errors.InvalidArgumentError, match=rf"\[{lowest}, 4\), the classes of {type(head).__name__}"):
        head(x, np.array([0, 4, 1]))
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="labels must be" if lowest else "SphereFace2 alone takes -1"
    ):
        head(x, np.array([0, lowest - 1, 1]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="embeddings must be finite"):
        head(x * np.nan, np.array([0, 1, 1]))
    with pytest.raises(ValueError, match="integers, got float32"):
        head(x, np.array([0, 1, 1], np.float32))
    with pytest.raises(ValueError, match=r"shape \[B\], got"):
        head(x, np.array([[0], [1], [1]]))
    with pytest.raises(ValueError, match=r"shape \[B, d\], got"):
        head(np.ones((3, 2, 8), np.float32), np.array([0, 1, 1]))
    with pytest.raises(ValueError, match="reach must be one of .* got 'encoder'"):
        head(x, np.array([0, 1, 1]), reach="encoder")
    with pytest.raises(ValueError, match=f"{type(head).__name__} has no marign. It has num_classes, .*chunk_size"):
        HEADS[name].make(4, marign=0.5)
    with pytest.raises(ValueError, match="num_classes must be .* at least 2, got 1"):
        HEADS[name].make(1)
    with pytest.raises(ValueError, match="chunk_size must be at least 1, got 0"):
        HEADS[name].make(4, chunk_size=0)
    with pytest.raises(ValueError, match=r"must have shape \(\d+, 8\), got \(3, 8\)"):
        head.set_class_weights(x)
