"""Angular margins ψ on the target cosine, which several heads share."""

import math

import tensorflow as tf

from tfface.geometry import angle, sine

GRADIENTS = ("exact", "straight_through")
OVERFLOWS = ("fallback", "none")


def angular_margin(
    target: tf.Tensor,
    m1: float | tf.Tensor = 1.0,
    m2: float | tf.Tensor = 0.0,
    m3: float = 0.0,
    gradient: str = "exact",
    overflow: str = "fallback",
) -> tf.Tensor:
    """Computes ψ(t) = cos(m1·θ + m2) − m3 for t = cos θ.

    Args:
      target: float32 [...], cosines.
      m1: float or tensor, factor of the angle.
      m2: float or tensor, radians, added to the angle.
      m3: float, subtracted from the cosine.
      gradient: "exact" differentiates ψ; "straight_through" gives it the derivative 1.
      overflow: beyond m1·θ + m2 = π, where the cosine would rise again, "fallback" continues by t less a constant, so
        that ψ still falls: the constant is the larger of m2·sin m2 (as in ArcFace's implementations) and the one with
        which ψ meets −1 at that angle. "none" leaves the cosine as it is.

    Returns:
      float32 [...].
    """
    cosine = tf.clip_by_value(target, -1.0, 1.0)
    if isinstance(m1, float) and m1 == 1.0:
        with_margin = cosine * tf.cos(m2) - sine(cosine) * tf.sin(m2)
    else:
        with_margin = tf.cos(m1 * angle(cosine) + m2)
    if overflow == "fallback":
        last = tf.cos(tf.clip_by_value((math.pi - m2) / m1, 0.0, math.pi))
        below = cosine - tf.maximum(m2 * tf.sin(m2), 1.0 + last)
        with_margin = tf.where(cosine > last, with_margin, below)
    with_margin -= m3
    if gradient == "straight_through":
        return target + tf.stop_gradient(with_margin - target)
    return with_margin
