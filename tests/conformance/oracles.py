"""Each head's loss written from its paper in NumPy, float64, one example at a time.

An oracle is called as name(embeddings [B, d], class_weights [K, d], labels [B], **options) and gives the losses [B].
Inputs may be complex: every formula is analytic, so that a complex step gives exact directional derivatives,
d/dh L(x + h v) = Im L(x + i h v) / h. Branches, maxima and whatever a method detaches look at real parts only.
"""

import functools

import numpy as np

# Tools


def oracle(formula):
    """Let a formula compute in complex128, and give real losses where nothing that came in was complex."""

    @functools.wraps(formula)
    def losses(embeddings, class_weights, labels, **options):
        moved = any(np.iscomplexobj(value) for value in (embeddings, class_weights, *options.values()))
        embeddings, class_weights = (np.asarray(rows, np.complex128) for rows in (embeddings, class_weights))
        values = np.array(formula(embeddings, class_weights, np.asarray(labels), **options), np.complex128)
        return values if moved else values.real

    return losses


def directional_derivatives(oracle, embeddings, class_weights, labels, by_embeddings, by_weights, step=1e-20):
    """d losses [B] along one direction (by_embeddings [B, d], by_weights [K, d]), exact to rounding.

    The derivative by another option comes the same way: the oracle's losses at bias=b + 1e-20j, imaginary part / 1e-20.
    """
    moved = oracle(embeddings + 1j * step * by_embeddings, class_weights + 1j * step * by_weights, labels)
    return moved.imag / step


def norms(rows):
    return np.sqrt(np.sum(rows * rows, axis=1))


def cosines(embeddings, class_weights):
    """cos θ [B, K]; complex inputs are not conjugated."""
    return (embeddings / norms(embeddings)[:, None]) @ (class_weights / norms(class_weights)[:, None]).T


def split(row, label):
    """The target's entry and those of all other classes."""
    return row[label], np.delete(row, label)


def arccos(cosine):
    """Rounding may have carried the cosine's real part past ±1."""
    return np.arccos(np.clip(cosine.real, -1, 1) + 1j * cosine.imag)


def clip(value, low, high):
    """Clipping lets the gradient pass only inside the bounds."""
    return value if low <= value.real <= high else np.clip(value.real, low, high) + 0j


def softplus(z):
    """log(1 + e^z). The artanh form of log(1 + w) keeps small complex w exact, where np.log1p does not."""
    w = np.exp(np.where(z.real > 0, -z, z))
    return np.where(z.real > 0, z, 0) + 2 * np.arctanh(w / (2 + w))


def logsumexp(z):
    if z.size == 0:
        return -np.inf + 0j
    top = z.real.max()
    return top + np.log(np.sum(np.exp(z - top)))


def softmax_loss(target_logit, negative_logits):
    """−log of the target's softmax, log(1 + Σ e^{z_k} / e^{z_y}): precise also where it is tiny."""
    return softplus(logsumexp(negative_logits) - target_logit)


def margin_softmax(embeddings, class_weights, labels, scale, psi):
    """Softmax of s·cosines [B, K] with the target's cosine t replaced by ψ(t)."""
    pairs = [split(row, label) for row, label in zip(cosines(embeddings, class_weights), labels, strict=True)]
    return [softmax_loss(scale * psi(target), scale * negatives) for target, negatives in pairs]


def with_gradient(value, cosine, gradient, slope=1.0):
    """The value as it is, or ("straight_through") its real part with the derivative `slope` by the cosine."""
    return {"exact": value, "straight_through": value.real + 1j * slope * cosine.imag}[gradient]


# Softmax without a margin


@oracle
def softmax(embeddings, class_weights, labels, bias=0.0):
    """ArcFace (arXiv), Eq. 1: softmax cross-entropy of the raw products plus a bias [K]."""
    logits = embeddings @ class_weights.T + bias
    return [softmax_loss(*split(row, label)) for row, label in zip(logits, labels, strict=True)]


@oracle
def norm_softmax(embeddings, class_weights, labels, scale=64.0):
    """NormFace (Wang et al. 2017); D-Softmax, Eq. 1 with cosines."""
    return margin_softmax(embeddings, class_weights, labels, scale, lambda t: t)


@oracle
def coco(embeddings, class_weights, labels, scale=None):
    """CoCo (Liu et al. 2017, arXiv 1710.00870): normalised softmax of scale α = log(K−1)/2 + 3."""
    scale = np.log(len(class_weights) - 1) / 2 + 3 if scale is None else scale
    return margin_softmax(embeddings, class_weights, labels, scale, lambda t: t)


# Softmax with a margin


def sphereface_psi(t, margin, form):
    angle = margin * arccos(t)
    if form == "piecewise":
        k = np.floor(angle.real / np.pi)
        return (-1) ** k * np.cos(angle) - 2 * k
    assert form == "arccos", form
    return np.cos(angle) if angle.real <= np.pi else t - (1 + np.cos(np.pi / margin))


def arcface_psi(t, margin, gradient="exact", overflow="fallback"):
    assert overflow in ("fallback", "none"), overflow
    angle = arccos(t) + margin
    past = angle.real > np.pi and overflow == "fallback"
    return with_gradient(t - margin * np.sin(margin) if past else np.cos(angle), t, gradient)


def combined_psi(t, m1, m2, m3, gradient, overflow):
    assert overflow in ("fallback", "none"), overflow
    angle = m1 * arccos(t) + m2
    past = angle.real > np.pi and overflow == "fallback"
    # The first penalty is ArcFace's; the second is the least that keeps ψ from jumping up where the fallback begins.
    penalty = max(m2 * np.sin(m2), 1 + np.cos((np.pi - m2) / m1))
    return with_gradient((t - penalty if past else np.cos(angle)) - m3, t, gradient)


@oracle
def sphereface(embeddings, class_weights, labels, scale=64.0, margin=1.35, form="arccos", annealing=0.0):
    """SphereFace (Liu et al. 2017): ψ = (−1)^k cos(mθ) − 2k; arccos form: ArcFace (arXiv), §2.2, cos(mθ)."""

    def psi(t):
        return (annealing * t + sphereface_psi(t, margin, form)) / (1 + annealing)

    return margin_softmax(embeddings, class_weights, labels, scale, psi)


@oracle
def cosface(embeddings, class_weights, labels, scale=64.0, margin=0.35):
    """CosFace (Wang et al. 2018); D-Softmax, Eq. 4: ψ = t − m."""
    return margin_softmax(embeddings, class_weights, labels, scale, lambda t: t - margin)


@oracle
def arcface(embeddings, class_weights, labels, scale=64.0, margin=0.5, gradient="exact", overflow="fallback"):
    """ArcFace (Deng et al. 2019), Eq. 3: ψ = cos(θ + m)."""
    psi = functools.partial(arcface_psi, margin=margin, gradient=gradient, overflow=overflow)
    return margin_softmax(embeddings, class_weights, labels, scale, psi)


@oracle
def combined_margin(
    embeddings, class_weights, labels, scale=64.0, m1=1.0, m2=0.3, m3=0.2, gradient="exact", overflow="fallback"
):
    """ArcFace (Deng et al. 2019), Eq. 4: ψ = cos(m1 θ + m2) − m3."""
    psi = functools.partial(combined_psi, m1=m1, m2=m2, m3=m3, gradient=gradient, overflow=overflow)
    return margin_softmax(embeddings, class_weights, labels, scale, psi)


@oracle
def subcenter_arcface(embeddings, class_weights, labels, sub_centers=3, scale=64.0, margin=0.5):
    """Sub-center ArcFace (Deng et al. 2020): a class's cosine is that of its nearest sub-centre."""
    by_class = cosines(embeddings, class_weights).reshape(len(embeddings), -1, sub_centers)
    nearest = by_class.real.argmax(axis=2, keepdims=True)
    losses = []
    for row, label in zip(np.take_along_axis(by_class, nearest, axis=2)[..., 0], labels, strict=True):
        target, negatives = split(row, label)
        losses.append(softmax_loss(scale * arcface_psi(target, margin), scale * negatives))
    return losses


# Softmax with margins or weights that adapt to the example


@oracle
def circle(embeddings, class_weights, labels, scale=256.0, margin=0.25):
    """Circle loss (Sun et al. 2020), class-level form: logits γ α_n (z − m), γ α_p (t − 1 + m), with α detached."""
    losses = []
    for row, label in zip(cosines(embeddings, class_weights), labels, strict=True):
        target, negatives = split(row, label)
        target_weight = max(1 + margin - target.real, 0)
        negative_weights = np.maximum(negatives.real + margin, 0)
        target_logit = scale * target_weight * (target - (1 - margin))
        losses.append(softmax_loss(target_logit, scale * negative_weights * (negatives - margin)))
    return losses


@oracle
def curricularface(embeddings, class_weights, labels, scale=64.0, margin=0.5, tau_before=0.0):
    """CurricularFace (Huang et al. 2020): hard z become z(τ + z); τ, detached, takes in this batch before its use."""
    rows = cosines(embeddings, class_weights)
    tau = 0.01 * np.mean([row[label].real for row, label in zip(rows, labels, strict=True)]) + 0.99 * tau_before
    losses = []
    for row, label in zip(rows, labels, strict=True):
        target, negatives = split(row, label)
        # Hardness is relative to the margin's cosine itself, before the fallback.
        hard = negatives.real > np.cos(arccos(target).real + margin)
        negatives = np.where(hard, negatives * (tau + negatives), negatives)
        losses.append(softmax_loss(scale * arcface_psi(target, margin), scale * negatives))
    return losses


@oracle
def magface(
    embeddings,
    class_weights,
    labels,
    scale=64.0,
    lower_margin=0.45,
    upper_margin=0.8,
    lower_norm=10.0,
    upper_norm=110.0,
    norm_weight=20.0,
):
    """MagFace (Meng et al. 2021): an ArcFace margin m(a) linear in the norm a, plus λ(a/u² + 1/a)."""
    losses = []
    for row, label, norm in zip(cosines(embeddings, class_weights), labels, norms(embeddings), strict=True):
        target, negatives = split(row, label)
        norm = clip(norm, lower_norm, upper_norm)
        margin = lower_margin + (upper_margin - lower_margin) * (norm - lower_norm) / (upper_norm - lower_norm)
        angle = arccos(target) + margin
        psi = target if angle.real > np.pi else np.cos(angle)
        losses.append(softmax_loss(scale * psi, scale * negatives) + norm_weight * (norm / upper_norm**2 + 1 / norm))
    return losses


@oracle
def adaface(embeddings, class_weights, labels, scale=64.0, margin=0.4, h=0.333):
    """AdaFace (Kim et al. 2022): ψ = cos(θ − m ẑ) − (m ẑ + m), ẑ the norm standardised in its batch, detached."""
    sizes = np.clip(norms(embeddings).real, 0.001, 100)
    quality = np.clip(h * (sizes - sizes.mean()) / (sizes.std(ddof=1) + 1e-3), -1, 1)
    losses = []
    for row, label, z in zip(cosines(embeddings, class_weights), labels, quality, strict=True):
        target, negatives = split(np.array([clip(cosine, -1 + 1e-3, 1 - 1e-3) for cosine in row]), label)
        angle = clip(arccos(target) - margin * z, 1e-3, np.pi - 1e-3)
        losses.append(softmax_loss(scale * (np.cos(angle) - (margin + margin * z)), scale * negatives))
    return losses


# SphereFace2: K binary classifications


def adjusted(cosine, adjustment):
    """SphereFace2, Eq. 5: g(z)."""
    return 2 * ((cosine + 1) / 2) ** adjustment - 1


def sphereface2_logits(target, negatives, radius, margin, adjustment, margin_type):
    """The target's and the negatives' r(g ∓ m), without the bias."""
    if margin_type == "C":
        return radius * (adjusted(target, adjustment) - margin), radius * (adjusted(negatives, adjustment) + margin)
    angle = {"A": arccos(target) + margin, "M": arccos(target) * margin}[margin_type]
    # cos π rather than the angle past π, from where the logit would rise again.
    cosine = np.cos(angle) if angle.real <= np.pi else -1 + 0j
    return radius * adjusted(cosine, adjustment), radius * adjusted(negatives, adjustment)


@oracle
def sphereface2(
    embeddings,
    class_weights,
    labels,
    bias,
    balance=0.7,
    radius=30.0,
    margin=0.4,
    adjustment=3,
    margin_type="C",
    gradient="exact",
):
    """SphereFace2 (Wen et al. 2022), Eq. 6; types A and M put an angular margin on the target only."""
    losses = []
    for row, label in zip(cosines(embeddings, class_weights), labels, strict=True):
        cosine_pair = split(row, label)
        target, negatives = (
            with_gradient(logit, cosine, gradient, slope=radius) + bias
            for logit, cosine in zip(
                sphereface2_logits(*cosine_pair, radius, margin, adjustment, margin_type), cosine_pair, strict=True
            )
        )
        losses.append(balance / radius * softplus(-target) + (1 - balance) / radius * softplus(negatives).sum())
    return losses


@oracle
def sphereface2_ablation(
    embeddings, class_weights, labels, bias, pn, eh, am, sa, balance=0.7, radius=30.0, margin=0.4, adjustment=3
):
    """SphereFace2, Table 3: Eq. 6 without what leads to it, Eqs. 1 (none), 2 (PN, EH), 4 (PN, EH, AM).

    PN off: both sides weigh 1. EH off: r = 1, before the logarithms too. AM off: m = 0. SA off: t = 1.
    The table's first row is not Eq. 1, which did not converge, but PN with λ = (K−1)/K.
    """
    positive_weight, negative_weight = (balance, 1 - balance) if pn else (1.0, 1.0)
    r = radius if eh else 1.0
    m = margin if am else 0.0
    t = adjustment if sa else 1
    losses = []
    for row, label in zip(cosines(embeddings, class_weights), labels, strict=True):
        target, negatives = split(row, label)
        positive = softplus(-r * (adjusted(target, t) - m) - bias)
        negative = softplus(r * (adjusted(negatives, t) + m) + bias).sum()
        losses.append((positive_weight * positive + negative_weight * negative) / r)
    return losses


# D-Softmax: the two objectives apart


def intra_class(target, scale, termination, epsilon):
    """D-Softmax, Eqs. 5–6: log(1 + ε/e^{s t}), ε = e^{s d}."""
    return softplus((scale * termination if epsilon is None else np.log(epsilon)) - scale * target)


def inter_class(target, negatives, scale, inter, margin):
    """D-Softmax, Eq. 9, or §4.2's (Arc)Softmax in which the target's part is known but gets no gradient."""
    psi = {"own": None, "softmax": target, "arcface": arcface_psi(target, margin)}[inter]
    return softplus(logsumexp(scale * negatives) - (0 if psi is None else scale * psi.real))


@oracle
def dsoftmax(embeddings, class_weights, labels, scale=64.0, termination=0.9, epsilon=None, inter="own", margin=0.5):
    """D-Softmax (He et al. 2020), Eq. 10."""
    pairs = [split(row, label) for row, label in zip(cosines(embeddings, class_weights), labels, strict=True)]
    return [
        intra_class(target, scale, termination, epsilon) + inter_class(target, negatives, scale, inter, margin)
        for target, negatives in pairs
    ]


@oracle
def dsoftmax_b(
    embeddings, class_weights, labels, rows, scale=64.0, termination=0.9, epsilon=None, inter="own", margin=0.5
):
    """D-Softmax-B (He et al. 2020), Eq. 12: only the examples in `rows` have an inter-class term."""
    losses = []
    for i, (row, label) in enumerate(zip(cosines(embeddings, class_weights), labels, strict=True)):
        target, negatives = split(row, label)
        loss = intra_class(target, scale, termination, epsilon)
        losses.append(loss + inter_class(target, negatives, scale, inter, margin) if i in rows else loss)
    return losses


@oracle
def dsoftmax_k(
    embeddings, class_weights, labels, classes, scale=64.0, termination=0.9, epsilon=None, inter="own", margin=0.5
):
    """D-Softmax-K (He et al. 2020), Eq. 11: the negatives are the sampled classes that the batch does not hold."""
    sampled = np.setdiff1d(classes, labels).astype(int)
    return [
        intra_class(row[label], scale, termination, epsilon)
        + inter_class(row[label], row[sampled], scale, inter, margin)
        for row, label in zip(cosines(embeddings, class_weights), labels, strict=True)
    ]


# Softmax over sampled classes


def sampled_softmax(embeddings, class_weights, labels, classes, scale, psi):
    """The negatives of an example: the sampled classes and the batch's, without its own."""
    candidates = np.union1d(classes, labels).astype(int)
    return [
        softmax_loss(scale * psi(row[label]), scale * row[candidates[candidates != label]])
        for row, label in zip(cosines(embeddings, class_weights), labels, strict=True)
    ]


@oracle
def rand_norm_softmax(embeddings, class_weights, labels, classes, scale=64.0):
    """Rand-Softmax of D-Softmax, §4.3: norm_softmax over the batch's classes and sampled ones."""
    return sampled_softmax(embeddings, class_weights, labels, classes, scale, lambda t: t)


@oracle
def rand_arcface(embeddings, class_weights, labels, classes, scale=64.0, margin=0.5):
    """Rand-ArcFace of D-Softmax, §4.3: arcface over the batch's classes and sampled ones."""
    psi = functools.partial(arcface_psi, margin=margin)
    return sampled_softmax(embeddings, class_weights, labels, classes, scale, psi)
