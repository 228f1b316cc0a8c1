"""Angular margins ψ on the target cosine, which several heads share."""

import math

import tensorflow as tf

# cos²θ this close to 1 leaves float32 no correct digit of sin θ, whose derivative is infinite at 1.
_MIN_SIN_SQUARED = 1e-7

GRADIENTS = ("exact", "straight_through")
OVERFLOWS = ("fallback", "none")


def sine(cosine):
    """Returns sin θ [...] of cos θ, with a finite derivative everywhere."""
    return tf.sqrt(tf.maximum(1.0 - tf.square(cosine), _MIN_SIN_SQUARED))


def angle(cosine):
    """Returns θ [...] in radians of cos θ, with a finite derivative everywhere."""
    cosine = tf.clip_by_value(cosine, -1.0, 1.0)
    return tf.atan2(sine(cosine), cosine)


def angular_margin(target, m1=1.0, m2=0.0, m3=0.0, gradient="exact", overflow="fallback"):
    """Computes ψ(t) = cos(m1·θ + m2) − m3 for t = cos θ.

    Args:
      target: float32 [...], cosines.
      m1: float or tensor, multiplies the angle.
      m2: float or tensor, radians, is added to it.
      m3: float, is taken from the cosine.
      gradient: "exact" differentiates ψ; "straight_through" gives it the derivative 1.
      overflow: beyond m1·θ + m2 = π, where the cosine would rise again, "fallback" continues by t less a constant, so
        that ψ falls on: the larger of m2·sin m2 (as ArcFace's implementations have it) and what meets −1 at that angle.
        "none" leaves the cosine as it is.

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
