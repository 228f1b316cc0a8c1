"""Pictures of what heads do to one example, computed by the heads themselves.

Each `plot_*` function returns a matplotlib Figure; `docs/tools/plot_heads.py` writes them for the documentation.
"""

import io

import matplotlib
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure
from PIL import Image

from tfface.heads.arcface import ArcFace
from tfface.heads.combined_margin import CombinedMargin
from tfface.heads.cosface import CosFace
from tfface.heads.dsoftmax import DSoftmax
from tfface.heads.norm_softmax import NormSoftmax
from tfface.heads.sphereface import SphereFace
from tfface.heads.sphereface2 import SphereFace2

_SCALE = 64.0
# Okabe and Ito's palette, which colour-blind readers can tell apart; dashes tell the curves apart in grey.
_STYLES = (
    {"color": "black", "linestyle": "-"},
    {"color": "#E69F00", "linestyle": (0, (6, 2))},
    {"color": "#009E73", "linestyle": "-."},
    {"color": "#0072B2", "linestyle": "-"},
    {"color": "#CC79A7", "linestyle": (0, (4, 1.5, 1, 1.5, 1, 1.5))},
    {"color": "#D55E00", "linestyle": ":"},
)


def cosines(points=401):
    """Returns float32 cosines [points], from −1 to 1."""
    return np.linspace(-1, 1, points, dtype=np.float32)


def target_logits(head, target):
    """Returns the logits of the target class that a head without context makes of target cosines, both [n]."""
    return head.target_logit(tf.constant(target, tf.float32), {}).numpy()


def losses(head, target, total, bias=0.0):
    """Returns F(t, a): losses [n] of target cosines and a, the log-sum (or sum) of the negatives; both broadcast."""
    target, total = np.broadcast_arrays(np.float32(target), np.float32(total))
    context = {"bias": tf.constant(bias), "has_class": tf.constant(1.0)} if isinstance(head, SphereFace2) else {}
    return head.loss(tf.constant(target), tf.constant(total), context).numpy()


def intra_termination(head, log_sum):
    """Computes the target cosine d at which the intra-class objective almost ends (D-Softmax, Eq. 5).

    The loss against t is nearly a falling line that meets zero, as log M − s·ψ(t) does; D-Softmax's meets zero at its
    own constant, without regard to the negatives.

    Args:
      head: margin-softmax head without context.
      log_sum: float, log M of the negatives.

    Returns:
      float, NaN where the line meets zero at no cosine.
    """
    target = cosines(20_001)
    ends = head.scale * head.termination if isinstance(head, DSoftmax) else log_sum
    above = np.nonzero(target_logits(head, target) >= ends)[0]
    return float(target[above[0]]) if len(above) else float("nan")


def inter_termination(head, target, log_rest):
    """Computes the negative cosine d' at which the inter-class objective almost ends (D-Softmax, Eq. 8).

    The loss against one negative z is nearly level, then a line of slope s: d' is where the two meet.

    Args:
      head: margin-softmax head without context.
      target: float32 [n], target cosines.
      log_rest: float, log M_n of all negatives but one.

    Returns:
      float32 [n].
    """
    far = 2.0  # far along the line; the loss knows no bound of cosines
    u = head.negative(tf.constant(far), {}).numpy()
    rise = losses(head, target, np.logaddexp(u, log_rest)) - losses(head, target, log_rest)
    return far - rise / head.scale


def plot_target_logits():
    """ArcFace's Fig. 4(b): the logit of the target class against its angle, for six margins at scale 64."""
    presets = {"CM1 (1, 0.3, 0.2)": CombinedMargin.CM1, "CM2 (0.9, 0.4, 0.15)": CombinedMargin.CM2}
    heads = {
        "NormSoftmax": NormSoftmax(2, _SCALE),
        "SphereFace (1.35)": SphereFace(2, _SCALE, 1.35),
        "CosFace (0.35)": CosFace(2, _SCALE, 0.35),
        "ArcFace (0.5)": ArcFace(2, _SCALE, 0.5),
        **{name: CombinedMargin(2, _SCALE, **margins) for name, margins in presets.items()},
    }
    degrees = np.linspace(20, 100, 321)
    figure = _figure(7.5, 4.8)
    axes = _axes(figure.add_subplot(), "angle θ to the weights of the own class (degrees)", "target logit s·ψ(cos θ)")
    for (name, head), style in zip(heads.items(), _STYLES, strict=True):
        axes.plot(degrees, target_logits(head, np.cos(np.radians(degrees))), label=name, **style)
    axes.set_xlim(20, 100)
    axes.set_title(f"Target logits, s = {_SCALE:g}")
    axes.legend(title="head (margin)")
    return figure


def plot_sphereface2_losses():
    """SphereFace2's Fig. 3 and its decision boundaries: what the scale s, the radius r and the margin m do."""
    figure = _figure(12.5, 4.3)
    softmax, binary, margins = figure.subplots(1, 3)
    target = cosines()

    _axes(softmax, "target cosine cos θ_y", "loss")
    softmax.set_title("(a) softmax, three negatives at 0.2")
    scales = (1, 4, 10, 30, 64)
    for scale, style in zip(scales, _shades(len(scales)), strict=True):
        head = NormSoftmax(4, scale)
        negatives = head.negative(tf.fill([3], 0.2), {})
        total = tf.reduce_logsumexp(negatives).numpy()
        softmax.plot(target, losses(head, target, total), label=f"s = {scale}", **style)
    softmax.set_ylim(-0.15, 8)
    softmax.legend()

    _axes(binary, "target cosine cos θ_y", "loss (λ = 1)")
    binary.set_title("(b) one binary classification")
    for radius, style in zip(scales, _shades(len(scales)), strict=True):
        head = SphereFace2(2, balance=None, radius=radius, margin=0, adjustment=1, use_bias=False)
        binary.plot(target, losses(head, target, 0.0), label=f"r = {radius}", **style)
    binary.legend()

    _axes(margins, "angle θ (degrees)", "term of the loss, unweighted")
    margins.set_title("(c) margins m, r = 30, t = 1, b = 0")
    degrees = np.linspace(0, 180, 361)
    z = np.cos(np.radians(degrees)).astype(np.float32)
    values = (0.0, 0.2, 0.4)
    for margin, style in zip(values, _shades(len(values)), strict=True):
        head = SphereFace2(2, balance=None, radius=30, margin=margin, adjustment=1, use_bias=False)
        negative = head.negative(tf.constant(z), {"bias": 0.0})
        margins.plot(degrees, losses(head, z, 0.0), label=f"own class, m = {margin:g}", **{**style, "linestyle": "-"})
        margins.plot(degrees, negative, label=f"other class, m = {margin:g}", **{**style, "linestyle": (0, (5, 2))})
        # The decision boundaries, where the logits are zero.
        for logit in (head.target_logit, head.negative_logit):
            crossing = np.interp(0.0, -logit(tf.constant(z), {"bias": 0.0}).numpy(), degrees)
            margins.plot([crossing], [0], "o", color=style["color"], markersize=5, clip_on=False, zorder=5)
    margins.set_xticks(range(0, 181, 30))
    margins.set_xlim(0, 180)
    margins.set_ylim(0, 1.95)
    margins.legend(fontsize=8, ncols=2, title="dots: decision boundaries", title_fontsize=8)
    return figure


def plot_similarity_adjustment():
    """SphereFace2's Fig. 6: the adjusted similarity g(cos θ) for t = 1..5, against the cosine and the angle."""
    figure = _figure(10, 4.3)
    by_cosine, by_angle = figure.subplots(1, 2, sharey=True)
    _axes(by_cosine, "cosine z = cos θ", "adjusted similarity g(z)")
    _axes(by_angle, "angle θ (degrees)", "")
    degrees = np.linspace(0, 180, 361)
    for adjustment, style in zip(range(1, 6), _shades(5), strict=True):
        for axes, x, z in ((by_cosine, cosines(), cosines()), (by_angle, degrees, np.cos(np.radians(degrees)))):
            axes.plot(x, adjusted_similarity(z, adjustment), label=f"t = {adjustment}", **style)
    by_angle.set_xticks(range(0, 181, 30))
    by_cosine.legend()
    figure.suptitle("Similarity adjustment of SphereFace2")
    return figure


def adjusted_similarity(z, adjustment):
    """Returns SphereFace2's g(z) of cosines [n], as the target logit of a head with all else switched off."""
    head = SphereFace2(2, balance=None, radius=1, margin=0, adjustment=adjustment, use_bias=False)
    return head.target_logit(tf.constant(z, tf.float32), {"bias": 0.0}).numpy()


def dissected_heads():
    """Returns the heads of D-Softmax's Figs. 2 and 3 and D-Softmax itself, by name, at scale 64."""
    return {
        "Softmax": NormSoftmax(2, _SCALE),
        "SphereFace (1.35)": SphereFace(2, _SCALE, 1.35),
        "CosFace (0.35)": CosFace(2, _SCALE, 0.35),
        "ArcFace (0.5)": ArcFace(2, _SCALE, 0.5),
        "D-Softmax (0.9)": DSoftmax(2, _SCALE, 0.9),
    }


def plot_dsoftmax_intra():
    """D-Softmax's Fig. 2: how the sum M of the negatives decides where the intra-class objective ends."""
    figure = _figure(12.5, 7)
    grid = figure.subplots(2, 3)
    target = cosines()
    ends = (0.2, 0.3, 0.4, 0.5)
    for (name, head), axes, panel in zip(dissected_heads().items(), grid.flat, "abcde", strict=False):
        _axes(axes, "target cosine z_y", "loss / s")
        dissected = isinstance(head, DSoftmax)
        axes.set_title(f"({panel}) {name}" + (", intra-class term" if dissected else ""))
        for end, style in zip(ends, _shades(len(ends)), strict=True):
            if dissected:
                values, label, style = head.intra(tf.constant(target)).numpy(), "any M", _STYLES[0]
            else:
                values, label = losses(head, target, _SCALE * end), f"log M = {end:g}·s"
            axes.plot(target, values / _SCALE, label=label, **style)
            stop = intra_termination(head, _SCALE * end)
            axes.plot([stop], [0], "o", color=style["color"], markersize=6, clip_on=False, zorder=5)
            if dissected:
                break
        axes.set_xlim(-0.5, 1)
        axes.set_ylim(0, 1.5)
        axes.legend(title="dots: termination point d", title_fontsize=9)
    summary = _axes(grid.flat[5], "log M / s", "termination point d (cosine)")
    summary.set_title("(f) where the objective ends")
    sums = np.linspace(-0.2, 0.7, 91)
    for (name, head), style in zip(dissected_heads().items(), _STYLES, strict=False):
        summary.plot(sums, [intra_termination(head, _SCALE * end) for end in sums], label=name, **style)
    summary.set_ylim(-0.25, 1.02)
    summary.legend(fontsize=8)
    figure.suptitle(f"Intra-class objective for a given sum M of the negatives, s = {_SCALE:g}")
    return figure


def plot_dsoftmax_inter():
    """D-Softmax's Fig. 3: how the target cosine decides where the inter-class objective ends."""
    figure = _figure(10.5, 4.4)
    curves, ends = figure.subplots(1, 2)
    rest = 0.3
    softmax = NormSoftmax(2, _SCALE)
    z = cosines()
    u = softmax.negative(tf.constant(z), {}).numpy()
    _axes(curves, "negative cosine z_n", "(loss − its level) / s")
    curves.set_title("(a) softmax")
    targets = (0.2, 0.4, 0.6, 0.8)
    for target, style in zip(targets, _shades(len(targets)), strict=True):
        values = losses(softmax, target, np.logaddexp(u, _SCALE * rest)) - losses(softmax, target, _SCALE * rest)
        curves.plot(z, values / _SCALE, label=f"z_y = {target:g}", **style)
        end = inter_termination(softmax, np.float32([target]), _SCALE * rest)
        curves.plot(end, [0], "o", color=style["color"], markersize=6, clip_on=False, zorder=5)
    curves.set_xlim(0, 1)
    curves.set_ylim(0, 0.75)
    curves.legend(title="dots: termination point d'", title_fontsize=9)
    _axes(ends, "target cosine z_y", "termination point d' (cosine)")
    ends.set_title("(b) where the objective ends")
    for (name, head), style in zip(dissected_heads().items(), _STYLES, strict=False):
        ends.plot(z, inter_termination(head, z, _SCALE * rest), label=name, **style)
    ends.set_xlim(0, 1)
    ends.legend()
    figure.suptitle(f"Inter-class objective, s = {_SCALE:g}, other negatives log M_n = {rest:g}·s")
    return figure


PLOTS = {
    "target_logits": plot_target_logits,
    "sphereface2_losses": plot_sphereface2_losses,
    "sphereface2_similarity": plot_similarity_adjustment,
    "dsoftmax_intra": plot_dsoftmax_intra,
    "dsoftmax_inter": plot_dsoftmax_inter,
}


def to_png(figure):
    """Returns the bytes of a PNG file of 256 colours, enough for curves on white and less than half the size."""
    picture, small = io.BytesIO(), io.BytesIO()
    figure.savefig(picture, format="png")
    Image.open(picture).convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE).save(
        small, format="png", optimize=True
    )
    return small.getvalue()


def _figure(width, height):
    return Figure(figsize=(width, height), dpi=100, layout="constrained")


def _axes(axes, x, y):
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(color="#DDDDDD", linewidth=0.8)
    axes.set_axisbelow(True)
    return axes


def _shades(count):
    """Line styles of one rising parameter: from dark to light, which greys keep, with dashes of their own."""
    colours = matplotlib.colormaps["viridis"](np.linspace(0, 0.85, count))
    dashes = ("-", (0, (6, 2)), "-.", (0, (3, 1.5)), ":")
    return [{"color": colour, "linestyle": dash} for colour, dash in zip(colours, dashes, strict=False)]
