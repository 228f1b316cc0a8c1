"""SphereFace2: K binary classifications in place of one K-way classification."""

import math

import keras
import tensorflow as tf

from tfface.checks import check_option, check_range
from tfface.geometry import angle
from tfface.heads.base import ClassificationHead
from tfface.heads.margins import GRADIENTS

MARGIN_TYPES = ("C", "A", "M")


@keras.saving.register_keras_serializable("tfface")
class SphereFace2(ClassificationHead):
    """Binary classification on cosines: every class asks whether an image is its own.

        u(z) = (1−λ)/r · softplus(r(g(z) + m) + b)          F(t, a) = λ/r · softplus(−r(g(t) − m) − b) + a
        g(z) = 2((z+1)/2)^t − 1          a = Σ u

    No class needs the sum over the others, so its gradient waits for nothing. The four principles of the paper's
    Table 3 are values of the arguments; without all of them (and `use_bias=False`) the loss is the naive one of Eq. 1:

    | principle | on | off |
    |---|---|---|
    | positive/negative balance (PN) | `balance` λ | `balance=(K - 1) / K` in Table 3; `None`, Eq. 1: both weights 1 |
    | easy/hard mining (EH) | `radius` r | `radius=1` |
    | angular margin (AM) | `margin` m | `margin=0` |
    | similarity adjustment (SA) | `adjustment` t | `adjustment=1` |

    Labels of -1 are faces of no class: all classes are their negatives.

    The bias b is one learned number. It starts where the gradients of positives and negatives balance at cos θ = 0.

    Args:
      num_classes: int, identities K.
      balance: float λ in (0, 1), or None.
      radius: float r, positive.
      margin: float m, in [0, 1] for type C, radians in [0, π/2] for A, a factor in [1, 10] for M.
      adjustment: float t, at least 1.
      margin_type: "C": additive on both sides; "A": g(cos(θ + m)) and "M": g(cos(m·θ)) on the target alone, the angle
        being at most π.
      gradient: "exact", or "straight_through" as in its authors' code: the logits' slope in the cosine is r.
      use_bias: bool; False: b = 0.
      loss_weight: float, factor of the loss; its authors' code has 10 for VGGFace2 and 50 for MS1M.
      **kwargs: of `ClassificationHead`.

    Raises:
      ValueError: an option is out of range.

    Reference:
      Wen et al., "SphereFace2: Binary Classification is All You Need for Deep Face Recognition", 2022, Eqs. 1-6.
    """

    reduction = "sum"
    lowest_label = -1
    instead = {"scale": "radius is the factor of its cosines"}

    def __init__(
        self,
        num_classes: int,
        balance: float | None = 0.7,
        radius: float = 30.0,
        margin: float = 0.4,
        adjustment: float = 3.0,
        margin_type: str = "C",
        gradient: str = "exact",
        use_bias: bool = True,
        loss_weight: float = 1.0,
        **kwargs,
    ):
        super().__init__(num_classes, **kwargs)
        check_option("margin_type", margin_type, MARGIN_TYPES)
        check_option("gradient", gradient, GRADIENTS)
        if balance is not None and not 0 < balance < 1:
            raise ValueError(f"balance must be in (0, 1) or None, got {balance!r}.")
        check_range("radius", radius, 1e-6, 1e6)
        check_range("margin", margin, *{"C": (0, 1), "A": (0, math.pi / 2), "M": (1, 10)}[margin_type])
        check_range("adjustment", adjustment, 1, 100)
        check_range("loss_weight", loss_weight, 1e-6, 1e6)
        self.balance = balance
        self.radius = float(radius)
        self.margin = float(margin)
        self.adjustment = float(adjustment)
        self.margin_type = margin_type
        self.gradient = gradient
        self.use_bias = use_bias
        self.loss_weight = float(loss_weight)

    def build(self, embeddings_shape, labels_shape=None):
        super().build(embeddings_shape, labels_shape)
        self.bias = 0.0
        if self.use_bias:
            start = keras.initializers.Constant(self.initial_bias())
            self.bias = self.add_weight(name="bias", shape=(), initializer=start, dtype="float32", autocast=False)

    def initial_bias(self) -> float:
        """Returns the b at which the gradients of positives and negatives balance if all cosines are 0."""
        at_zero = 2 * 0.5**self.adjustment - 1
        margin_angle = {"A": math.pi / 2 + self.margin, "M": self.margin * math.pi / 2}.get(self.margin_type)
        if margin_angle is None:
            positive, negative = self.radius * (at_zero - self.margin), self.radius * (at_zero + self.margin)
        else:
            half = (math.cos(min(margin_angle, math.pi)) + 1) / 2
            positive, negative = self.radius * (2 * half**self.adjustment - 1), self.radius * at_zero
        ratio = 1.0 if self.balance is None else self.balance / (1 - self.balance)
        z = ratio / (self.num_classes - 1)
        root = math.sqrt((1 - z) ** 2 + 4 * z * math.exp(positive - negative))
        return math.log(2 * z) - negative - math.log(1 - z + root)

    def context(self, embeddings: tf.Tensor, labels: tf.Tensor, training: bool | None) -> dict[str, tf.Tensor]:
        return {
            "bias": tf.broadcast_to(tf.convert_to_tensor(self.bias), tf.shape(labels)),
            "has_class": tf.cast(labels >= 0, tf.float32),
        }

    def negative(self, cosines: tf.Tensor, context: dict[str, tf.Tensor]) -> tf.Tensor:
        weight = 1.0 if self.balance is None else 1.0 - self.balance
        return self.loss_weight * weight / self.radius * tf.math.softplus(self.negative_logit(cosines, context))

    def loss(self, target: tf.Tensor, total: tf.Tensor, context: dict[str, tf.Tensor]) -> tf.Tensor:
        weight = 1.0 if self.balance is None else self.balance
        positive = context["has_class"] * tf.math.softplus(-self.target_logit(target, context))
        return self.loss_weight * weight / self.radius * positive + total

    def negative_logit(self, cosines: tf.Tensor, context: dict[str, tf.Tensor]) -> tf.Tensor:
        margin = self.margin if self.margin_type == "C" else 0.0
        return self.radius * (self._adjusted(cosines, cosines) + margin) + context["bias"]

    def target_logit(self, target: tf.Tensor, context: dict[str, tf.Tensor]) -> tf.Tensor:
        if self.margin_type == "C":
            similarity = self._adjusted(target, target) - self.margin
        else:
            theta = angle(target) + self.margin if self.margin_type == "A" else angle(target) * self.margin
            similarity = self._adjusted(tf.cos(tf.minimum(theta, math.pi)), target)
        return self.radius * similarity + context["bias"]

    def plain_logit(self, cosines: tf.Tensor) -> tf.Tensor:
        return self.radius * self._adjusted(cosines, cosines) + self.bias

    def _adjusted(self, similarity, cosines):
        """g; with a straight-through gradient its slope is 1 in the cosines that the similarity comes from."""
        half = tf.clip_by_value((similarity + 1.0) / 2.0, 0.0, 1.0)
        adjusted = 2.0 * half**self.adjustment - 1.0 if self.adjustment != 1 else similarity
        if self.gradient == "straight_through":
            return cosines + tf.stop_gradient(adjusted - cosines)
        return adjusted

    def get_config(self):
        return {
            **super().get_config(),
            "balance": self.balance,
            "radius": self.radius,
            "margin": self.margin,
            "adjustment": self.adjustment,
            "margin_type": self.margin_type,
            "gradient": self.gradient,
            "use_bias": self.use_bias,
            "loss_weight": self.loss_weight,
        }
