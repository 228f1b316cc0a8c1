"""The oracles against finite differences, one another, and numbers worked out by hand; nothing here imports tfface."""

from functools import partial

import numpy as np
import oracles
import pytest

B, D, K = 6, 12, 9
ANGLES = np.radians([8, 55, 95, 140, 165, 176])  # to the target: easy, ordinary, past every margin's fallback
NORMS = np.array([4.0, 11.0, 30.0, 60.0, 109.0, 150.0])  # on both sides of MagFace's bounds
LABELS = np.array([0, 3, 3, 5, 8, 1])
BIAS = -1.5


def batch(num_rows=K, seed=0, labels=LABELS):
    """Embeddings at ANGLES from their class's weight, class weights, labels, and a direction for both."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(num_rows, D))
    embeddings = np.empty((B, D))
    for i, label in enumerate(labels):
        axis = weights[label] / np.linalg.norm(weights[label])
        side = rng.normal(size=D)
        side -= side @ axis * axis
        embeddings[i] = NORMS[i] * (np.cos(ANGLES[i]) * axis + np.sin(ANGLES[i]) * side / np.linalg.norm(side))
    by_embeddings = rng.normal(size=(B, D)) * NORMS[:, None]
    return embeddings, weights, labels, by_embeddings, rng.normal(size=(num_rows, D))


def differences(oracle, embeddings, weights, labels, by_embeddings, by_weights, step=1e-6):
    forward = oracle(embeddings + step * by_embeddings, weights + step * by_weights, labels)
    return (forward - oracle(embeddings - step * by_embeddings, weights - step * by_weights, labels)) / (2 * step)


def assert_derivatives(oracle, *where, of=None):
    """The oracle's complex step equals the finite differences of `of`, itself unless something is detached."""
    exact = oracles.directional_derivatives(oracle, *where)
    np.testing.assert_allclose(exact, differences(of or oracle, *where), rtol=1e-5, atol=1e-5)
    assert np.abs(exact).max() > 0.1


def target_and_negatives(embeddings, weights, labels):
    rows = oracles.cosines(embeddings, weights)
    return [(row[label], np.delete(row, label)) for row, label in zip(rows, labels, strict=True)]


DIFFERENTIABLE = {
    "softmax": partial(oracles.softmax, bias=np.linspace(-1, 1, K)),
    "norm_softmax": oracles.norm_softmax,
    "coco": oracles.coco,
    "sphereface": oracles.sphereface,
    "sphereface_1.7": partial(oracles.sphereface, margin=1.7, scale=30.0),
    "sphereface_piecewise": partial(oracles.sphereface, margin=4, form="piecewise", annealing=5.0),
    "cosface": oracles.cosface,
    "arcface": oracles.arcface,
    "arcface_none": partial(oracles.arcface, overflow="none"),
    "combined": oracles.combined_margin,
    "combined_0.9": partial(oracles.combined_margin, m1=0.9, m2=0.4, m3=0.15),
    "combined_1.35": partial(oracles.combined_margin, m1=1.35, m2=0.3, m3=0.1),
    "sphereface2_c": partial(oracles.sphereface2, bias=BIAS),
    "sphereface2_a": partial(oracles.sphereface2, bias=BIAS, margin_type="A", margin=0.5),
    "sphereface2_m": partial(oracles.sphereface2, bias=BIAS, margin_type="M", margin=1.7, adjustment=2.5),
    "ablation": partial(oracles.sphereface2_ablation, bias=BIAS, pn=False, eh=True, am=False, sa=True),
    "dsoftmax": oracles.dsoftmax,
    "dsoftmax_b": partial(oracles.dsoftmax_b, rows=[1, 4]),
    "dsoftmax_k": partial(oracles.dsoftmax_k, classes=[0, 2, 4, 6]),
    "rand_norm_softmax": partial(oracles.rand_norm_softmax, classes=[2, 6]),
    "rand_arcface": partial(oracles.rand_arcface, classes=[0, 2]),
    "magface": oracles.magface,
    "subcenter_arcface": oracles.subcenter_arcface,
}


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_complex_step_is_the_derivative(name):
    # Sub-centres: three rows a class, and the embeddings lie near the first three classes' sub-centres.
    where = batch(num_rows=3 * K if name == "subcenter_arcface" else K)
    assert_derivatives(DIFFERENTIABLE[name], *where)


# Parts without gradient


def test_circle_freezes_its_weights():
    where = batch()
    frozen = [
        (max(1.25 - target, 0), np.maximum(negatives + 0.25, 0))
        for target, negatives in target_and_negatives(*where[:3])
    ]

    def with_frozen_weights(*inputs):
        losses = []
        for (target, negatives), (up, down) in zip(target_and_negatives(*inputs), frozen, strict=True):
            logits = 256 * np.concatenate([[up * (target - 0.75)], down * (negatives - 0.25)])
            losses.append(np.logaddexp.reduce(logits) - logits[0])
        return np.array(losses)

    np.testing.assert_allclose(oracles.circle(*where[:3]), with_frozen_weights(*where[:3]), rtol=1e-12, atol=1e-12)
    assert_derivatives(oracles.circle, *where, of=with_frozen_weights)


def test_curricularface_freezes_tau():
    where = batch()

    def mean_target(*inputs):
        return np.mean([target for target, _ in target_and_negatives(*inputs)])

    tau = 0.01 * mean_target(*where[:3]) + 0.99 * 0.4

    def with_frozen_tau(*inputs):
        return oracles.curricularface(*inputs, tau_before=(tau - 0.01 * mean_target(*inputs)) / 0.99)

    assert_derivatives(partial(oracles.curricularface, tau_before=0.4), *where, of=with_frozen_tau)


def test_adaface_gives_the_norm_no_gradient():
    embeddings, weights, labels, by_embeddings, by_weights = batch(seed=1)
    along_norm = oracles.directional_derivatives(oracles.adaface, embeddings, weights, labels, embeddings, 0 * weights)
    np.testing.assert_allclose(along_norm, 0, atol=1e-9)
    # Along the sphere norms stay, and the loss is an ordinary function.
    overlap = np.sum(by_embeddings * embeddings, axis=1) / np.sum(embeddings**2, axis=1)
    along_sphere = by_embeddings - overlap[:, None] * embeddings
    assert_derivatives(oracles.adaface, embeddings, weights, labels, along_sphere, by_weights)


@pytest.mark.parametrize("inter", ["softmax", "arcface"])
def test_dsoftmax_blocks_the_target_of_its_inter_class_term(inter):
    embeddings, weights, _, _, _ = batch()
    for i, label in enumerate(LABELS):
        by_target = np.zeros_like(weights)
        by_target[label] = np.arange(D)
        one = embeddings[i : i + 1], weights, LABELS[i : i + 1], np.zeros((1, D)), by_target
        blocked = oracles.directional_derivatives(partial(oracles.dsoftmax, inter=inter), *one)
        intra = oracles.directional_derivatives(partial(oracles.dsoftmax_b, rows=[]), *one)
        np.testing.assert_allclose(blocked, intra, atol=1e-13)


@pytest.mark.parametrize(
    ("inter", "whole"), [("softmax", oracles.norm_softmax), ("arcface", partial(oracles.arcface, margin=0.5))]
)
def test_dsoftmax_inter_class_forms_are_the_losses_they_name(inter, whole):
    embeddings, weights, labels, _, _ = batch()
    both = oracles.dsoftmax(embeddings, weights, labels, inter=inter)
    intra = oracles.dsoftmax_b(embeddings, weights, labels, rows=[])
    np.testing.assert_allclose(both - intra, whole(embeddings, weights, labels), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["arcface", "combined_margin"])
def test_straight_through_margin_is_a_constant_offset(name):
    oracle = getattr(oracles, name)
    where = batch()
    straight = partial(oracle, gradient="straight_through")
    np.testing.assert_array_equal(straight(*where[:3]), oracle(*where[:3]))
    for i in range(B):
        one = where[0][i : i + 1], where[1], LABELS[i : i + 1], where[3][i : i + 1], where[4]
        t = target_and_negatives(*one[:3])[0][0] + 0j
        psi = oracles.arcface_psi(t, 0.5) if name == "arcface" else oracles.arcface_psi(t, 0.3) - 0.2
        assert_same(straight, partial(oracles.cosface, margin=(t - psi).real), one)


def assert_same(oracle, other, where):
    np.testing.assert_allclose(oracle(*where[:3]), other(*where[:3]), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(
        oracles.directional_derivatives(oracle, *where),
        oracles.directional_derivatives(other, *where),
        rtol=1e-10,
        atol=1e-10,
    )


@pytest.mark.parametrize(("margin_type", "margin"), [("C", 0.4), ("A", 0.5), ("M", 1.7)])
def test_sphereface2_straight_through_has_slope_r(margin_type, margin):
    options = {"bias": BIAS, "margin_type": margin_type, "margin": margin}
    exact = partial(oracles.sphereface2, **options)
    straight = partial(oracles.sphereface2, gradient="straight_through", **options)
    embeddings, weights, labels, by_embeddings, by_weights = batch()
    np.testing.assert_array_equal(straight(embeddings, weights, labels), exact(embeddings, weights, labels))

    step = 1e-20
    moved = target_and_negatives(embeddings + 1j * step * by_embeddings, weights + 1j * step * by_weights, labels)
    expected = []
    for target, negatives in moved:
        positive, negative = oracles.sphereface2_logits(target, negatives, 30.0, margin, 3, margin_type)
        pull = -0.7 / (1 + np.exp(positive.real + BIAS))
        push = 0.3 / (1 + np.exp(-negative.real - BIAS))
        expected.append((pull * target.imag + push @ negatives.imag) / step)
    found = oracles.directional_derivatives(straight, embeddings, weights, labels, by_embeddings, by_weights)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


# Identities


@pytest.mark.parametrize(
    ("oracle", "other"),
    [
        (partial(oracles.combined_margin, m1=1, m2=0.5, m3=0), oracles.arcface),
        (partial(oracles.combined_margin, m1=1, m2=0, m3=0.35), oracles.cosface),
        (partial(oracles.combined_margin, m1=1.35, m2=0, m3=0), oracles.sphereface),
        (partial(oracles.arcface, margin=0), oracles.norm_softmax),
        (partial(oracles.coco, scale=64), oracles.norm_softmax),
        (oracles.coco, partial(oracles.norm_softmax, scale=np.log(K - 1) / 2 + 3)),
        (partial(oracles.sphereface, form="piecewise", margin=1), oracles.norm_softmax),
        (partial(oracles.subcenter_arcface, sub_centers=1), oracles.arcface),
        (partial(oracles.dsoftmax, epsilon=np.exp(64 * 0.9)), oracles.dsoftmax),
        (partial(oracles.dsoftmax_b, rows=range(B)), oracles.dsoftmax),
        (partial(oracles.rand_norm_softmax, classes=range(K)), oracles.norm_softmax),
        (partial(oracles.rand_arcface, classes=range(K)), oracles.arcface),
        (
            partial(oracles.sphereface2_ablation, bias=BIAS, pn=True, eh=True, am=True, sa=True),
            partial(oracles.sphereface2, bias=BIAS),
        ),
        (
            partial(oracles.sphereface2, bias=BIAS, margin_type="A", margin=0),
            partial(oracles.sphereface2, bias=BIAS, margin_type="M", margin=1),
        ),
        (
            partial(oracles.sphereface2, bias=BIAS, adjustment=1, gradient="straight_through"),
            partial(oracles.sphereface2, bias=BIAS, adjustment=1),
        ),
        (partial(oracles.magface, lower_margin=0, upper_margin=0, norm_weight=0), oracles.norm_softmax),
    ],
)
def test_identities(oracle, other):
    assert_same(oracle, other, batch())


def test_dsoftmax_k_leaves_out_every_class_of_the_batch():
    embeddings, weights, labels, _, _ = batch()
    losses = oracles.dsoftmax_k(embeddings, weights, labels, classes=range(K))
    changed = weights.copy()
    changed[labels] *= 3.0  # length is no matter
    np.testing.assert_allclose(
        oracles.dsoftmax_k(embeddings, changed, labels, classes=[2, 4, 6, 7]), losses, rtol=1e-12
    )
    only_intra = oracles.dsoftmax_b(embeddings, weights, labels, rows=[])
    np.testing.assert_array_equal(oracles.dsoftmax_k(embeddings, weights, labels, classes=labels), only_intra)


def test_scale_of_inputs_matters_only_where_it_should():
    embeddings, weights, labels, _, _ = batch()
    for name in ["arcface", "circle", "curricularface", "dsoftmax"]:
        oracle = getattr(oracles, name)
        np.testing.assert_allclose(oracle(3 * embeddings, 0.1 * weights, labels), oracle(embeddings, weights, labels))
    assert not np.allclose(
        oracles.softmax(3 * embeddings, weights, labels), oracles.softmax(embeddings, weights, labels)
    )
    assert not np.allclose(
        oracles.magface(3 * embeddings, weights, labels), oracles.magface(embeddings, weights, labels)
    )


# Numbers


def planar(degrees, label=0):
    """One embedding on the x axis and class weights at these angles from it."""
    angles = np.radians(degrees)
    return np.array([[1.0, 0.0]]), np.stack([np.cos(angles), np.sin(angles)], axis=1), np.array([label])


def log1pexp(z):
    return np.log1p(np.exp(z))


@pytest.mark.parametrize(
    ("oracle", "expected"),
    [
        # t = cos 60° = .5, one negative at z = cos 90° = 0
        (partial(oracles.norm_softmax, scale=2.0), log1pexp(0 - 2 * 0.5)),
        (partial(oracles.cosface, scale=2.0, margin=0.1), log1pexp(-2 * 0.4)),
        (partial(oracles.arcface, scale=2.0, margin=np.pi / 6), log1pexp(0.0)),
        (partial(oracles.sphereface, scale=2.0, margin=2), log1pexp(1.0)),
        (partial(oracles.sphereface, scale=2.0, margin=2, annealing=3.0), log1pexp(-2 * (3 * 0.5 - 0.5) / 4)),
        (partial(oracles.sphereface, scale=2.0, margin=4, form="piecewise"), log1pexp(-2 * (0.5 - 2))),
        (partial(oracles.coco), log1pexp(-3 * 0.5)),
        (partial(oracles.dsoftmax, scale=2.0, termination=0.9), log1pexp(2 * 0.4) + np.log(2)),
        (partial(oracles.dsoftmax, scale=2.0, inter="softmax"), log1pexp(2 * 0.4) + log1pexp(-1.0)),
        (partial(oracles.circle, scale=2.0, margin=0.25), log1pexp(2 * 0.25 * -0.25 - 2 * 0.75 * -0.25)),
        (
            partial(oracles.sphereface2_ablation, bias=0.2, pn=False, eh=False, am=False, sa=False),
            log1pexp(-0.5 - 0.2) + log1pexp(0.2),
        ),
        (
            partial(oracles.sphereface2_ablation, bias=0.2, pn=True, eh=False, am=True, sa=False),
            0.7 * log1pexp(-(0.5 - 0.4) - 0.2) + 0.3 * log1pexp(0.4 + 0.2),
        ),
        (
            partial(oracles.sphereface2, bias=0.2, radius=2.0),
            0.35 * log1pexp(-2 * (2 * 0.75**3 - 1 - 0.4) - 0.2) + 0.15 * log1pexp(2 * (2 * 0.5**3 - 1 + 0.4) + 0.2),
        ),
        (
            partial(oracles.sphereface2, bias=0.2, radius=2.0, margin_type="M", margin=4),  # 240° is held at 180°
            0.35 * log1pexp(2 - 0.2) + 0.15 * log1pexp(2 * (2 * 0.5**3 - 1) + 0.2),
        ),
    ],
)
def test_two_classes_by_hand(oracle, expected):
    np.testing.assert_allclose(oracle(*planar([60, 90])), [expected], rtol=1e-12)


def test_curricularface_by_hand():
    # t = cos 60°; of the negatives cos 90° and cos 120° only the first is above cos(60° + 45°).
    tau = 0.01 * 0.5 + 0.99 * 0.3
    for second in (np.cos(np.radians(80)), 0.0):
        degrees = np.degrees(np.arccos(second))
        losses = oracles.curricularface(*planar([60, degrees, 120]), scale=2.0, margin=np.pi / 4, tau_before=0.3)
        negatives = np.exp(2 * second * (tau + second)) + np.exp(-1.0)
        np.testing.assert_allclose(losses, [np.log1p(negatives / np.exp(2 * np.cos(np.radians(105))))], rtol=1e-12)


def test_magface_by_hand():
    embeddings, weights, labels = planar([60, 90])
    margin = 0.45 + 0.35 * 0.5
    expected = log1pexp(-2 * np.cos(np.pi / 3 + margin)) + 20 * (60 / 110**2 + 1 / 60)
    np.testing.assert_allclose(oracles.magface(60 * embeddings, weights, labels, scale=2.0), [expected], rtol=1e-12)


def test_adaface_by_hand():
    embeddings = np.array([[1.0, 0], [3.0, 0]])
    weights = planar([60, 90])[1]
    losses = oracles.adaface(embeddings, weights, np.array([0, 0]), scale=2.0)
    quality = 0.333 * np.array([-1, 1]) / (np.sqrt(2) + 1e-3)
    psi = np.cos(np.pi / 3 - 0.4 * quality) - (0.4 + 0.4 * quality)
    np.testing.assert_allclose(losses, log1pexp(-2 * psi), rtol=1e-12)


def test_subcenter_takes_the_nearest():
    embeddings, weights, labels = planar([150, 60, 90, 120])
    losses = oracles.subcenter_arcface(embeddings, weights, labels, sub_centers=2, scale=2.0, margin=np.pi / 6)
    np.testing.assert_allclose(losses, [np.log(2)], rtol=1e-12)


def test_fallbacks():
    def psi_at(degrees, function, *arguments):
        return function(np.cos(np.radians(degrees)) + 0j, *arguments).real

    # reference-numerics: threshold −.877583, penalty .239713 at m = .5
    t = np.cos(np.radians(170))
    np.testing.assert_allclose(t - psi_at(170, oracles.arcface_psi, 0.5), 0.239713, atol=1e-6)
    np.testing.assert_allclose(np.cos(np.pi - 0.5), -0.877583, atol=1e-6)
    for step, past in [(-1e-9, False), (1e-9, True)]:
        cosine = np.cos(np.pi - 0.5 + step) + 0j
        fallback, none = (oracles.arcface_psi(cosine, 0.5, overflow=way) for way in ("fallback", "none"))
        assert (fallback != none) == past
    # SphereFace's arccos form goes on without a jump and never rises; the piecewise one neither, for an integer margin.
    degrees = np.linspace(0.5, 179.5, 5000)
    for margin, form in [(1.35, "arccos"), (1.7, "arccos"), (4, "arccos"), (2, "piecewise"), (4, "piecewise")]:
        steps = np.diff([psi_at(angle, oracles.sphereface_psi, margin, form) for angle in degrees])
        assert steps.max() <= 0 and steps.min() > -0.01
    for margins in [(1, 0.3, 0.2), (0.9, 0.4, 0.15), (1.35, 0.3, 0.1)]:
        steps = np.diff([psi_at(angle, oracles.combined_psi, *margins, "exact", "fallback") for angle in degrees])
        assert steps.max() <= 1e-12


def test_log_forms_do_not_overflow_and_keep_small_losses():
    embeddings, weights, labels = planar([0, 180])
    for scale in (64.0, 2000.0):
        for oracle in (oracles.norm_softmax, oracles.dsoftmax):
            assert np.all(np.isfinite(oracle(embeddings, weights, labels, scale=scale)))
            assert np.all(np.isfinite(oracle(-embeddings, weights, labels, scale=scale)))
    np.testing.assert_allclose(oracles.norm_softmax(embeddings, weights, labels), [np.exp(-128.0)], rtol=1e-12)
    assert oracles.norm_softmax(embeddings, weights, labels).dtype == np.float64


@pytest.mark.parametrize(
    ("options", "num_classes", "bias"),
    [
        ({"balance": 0.7, "radius": 40.0, "margin": 0.4}, 8631, 5.784568),
        ({"balance": 0.7, "radius": 40.0, "margin": 0.4}, 10572, 5.581649),
        ({"balance": 0.8, "radius": 64.0, "margin": 0.5}, 8631, 8.323758),
        ({"balance": 0.7, "radius": 40.0, "margin": 0.5, "margin_type": "A"}, 8631, 21.784568),
        ({"balance": 0.7, "radius": 40.0, "margin": 1.7, "margin_type": "M"}, 8631, 21.784568),
    ],
)
def test_sphereface2_gradients_balance_at_the_published_bias(options, num_classes, bias):
    # reference-numerics: with this bias, positive and negative gradients cancel where all cosines are 0.
    weights = np.tile([1.0, 0.0], (num_classes, 1))
    where = np.array([[0.0, 1.0]]), weights, np.array([0]), np.array([[1.0, 0.0]]), 0 * weights

    def slope(bias):
        oracle = partial(oracles.sphereface2, bias=bias, gradient="straight_through", **options)
        return oracles.directional_derivatives(oracle, *where)[0]

    assert slope(bias - 2e-6) < 0 < slope(bias + 2e-6)


def test_bias_is_differentiable_too():
    embeddings, weights, labels, _, _ = batch()
    oracle = partial(oracles.sphereface2, embeddings, weights, labels)
    exact = oracle(bias=BIAS + 1e-20j).imag / 1e-20
    np.testing.assert_allclose(
        exact, (oracle(bias=BIAS + 1e-6) - oracle(bias=BIAS - 1e-6)) / 2e-6, rtol=1e-6, atol=1e-9
    )
