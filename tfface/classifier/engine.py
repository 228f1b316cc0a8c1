"""The engine behind every classification head: loss and analytic gradients from two small functions.

For unit embeddings x̂_i and unit class weights ŵ_k, cosines z_ik = x̂_i·ŵ_k and target cosines t_i = z_{i,y_i}, a head
supplies what one negative costs, u, and how target and negatives make the loss, F:

    a_i = log Σ_{k ∈ N_i} e^{u(z_ik)}   or   a_i = Σ_{k ∈ N_i} u(z_ik)          L_i = F(t_i, a_i)

Automatic differentiation sees F on vectors of B numbers, and u element by element; the rest is written out:

    ∂L_i/∂z_ik = F_a(i) · e^{u(z_ik) − a_i} · u'(z_ik)   (k ∈ N_i; without the exponential for the plain sum)
    ∂L_i/∂t_i = F_t(i)

Two phases, the sums and the gradients, walk the classes in chunks, so that a matrix [B, K] need never exist.
"""

import typing

import tensorflow as tf

from tfface.classifier import chunks
from tfface.classifier.rows import inverse_norms, unit_rows

# XLA repays its compilation where the matrix [B, K] is large.
_XLA_FROM_CLASSES = 8192


class Operands(typing.NamedTuple):
    """What both phases read."""

    x: tf.Tensor  # [B, d], unit rows if cosines are wanted
    weights: tf.Tensor  # [n · sub_centers, d]
    bias: tf.Tensor  # [n], or [0]
    context: dict  # of [B]
    labels: tf.Tensor  # int32 [B]
    classes: tf.Tensor  # int32 [n], -1 for none
    counts: tf.Tensor  # bool [n]


class Engine:
    """Per-example losses of a head, with gradients to embeddings, class weights, bias and context.

    Args:
      negative: function u (cosines [B, n], context) -> [B, n], elementwise; context tensors are [B, 1].
      loss: function F (target [B], a [B], context) -> losses [B], elementwise; context tensors are [B].
      reduction: "logsumexp" or "sum", how a is made of u.
      normalize: bool; False: raw dot products take the place of cosines.
      sub_centers: int, rows of weights a class; the one with the largest cosine counts.
      chunk_size: int, classes at a time; None: all at once.
      compute_dtype: dtype that the operands of the matrix products are rounded to; all sums are float32.
      jit_compile: bool, XLA for the two phases; None: where there are many classes.
    """

    def __init__(
        self,
        negative,
        loss,
        reduction="logsumexp",
        normalize=True,
        sub_centers=1,
        chunk_size=None,
        compute_dtype="float32",
        jit_compile=None,
    ):
        self.negative = negative
        self.loss = loss
        self.log = reduction == "logsumexp"
        self.normalize = normalize
        self.sub_centers = sub_centers
        self.chunk_size = chunk_size
        self.compute_dtype = tf.as_dtype(compute_dtype)
        self.jit_compile = jit_compile
        self._phases = {
            jit: (tf.function(self._sums, jit_compile=jit), tf.function(self._gradients, jit_compile=jit))
            for jit in (False, True)
        }

    def __call__(self, embeddings, weights, labels, context=None, bias=None, classes=None, counts=None):
        """Computes the losses of a batch.

        Args:
          embeddings: float32 [B, d], any norm. The gradient of an all-zero row is zero.
          weights: float32 [n · sub_centers, d], rows of n classes, any norm; n is static.
          labels: integer [B], classes of the examples.
          context: dict of float32 [B], handed to both functions; gradients reach it.
          bias: float32 [n], added to the products; None: no bias.
          classes: integer [n], class of each row, or -1 for a row that is none; None: row k is class k.
          counts: bool [n], classes that count as negatives; None: all. A label never is its own negative.

        Returns:
          float32 [B].
        """
        names, values = list(context or {}), list((context or {}).values())
        n = weights.shape[0] // self.sub_centers
        labels = tf.cast(labels, tf.int32)
        classes = tf.range(n) if classes is None else tf.cast(classes, tf.int32)
        counts = classes >= 0 if counts is None else counts & (classes >= 0)
        bias = tf.zeros([0]) if bias is None else bias
        sums, gradients = self._phases[n >= _XLA_FROM_CLASSES if self.jit_compile is None else self.jit_compile]

        @tf.custom_gradient
        def differentiable(embeddings, weights, bias, *values):
            # Else an outer tape would record the phases too, and keep their matrices [B, K] for nothing.
            embeddings, weights, bias, *values = map(tf.stop_gradient, (embeddings, weights, bias, *values))
            context = dict(zip(names, values, strict=True))
            x, x_scale = unit_rows(embeddings) if self.normalize else (embeddings, None)
            operands = Operands(x, weights, bias, context, labels, classes, counts)
            target, total = sums(operands)
            with tf.GradientTape() as tape:
                tape.watch([target, total, *values])
                losses = self.loss(target, total, context)
            slopes = tape.gradient(losses, [target, total, *values], unconnected_gradients="zero")
            by_target, by_total, *by_values = slopes

            def gradient(upstream):
                upstream = tf.convert_to_tensor(upstream)
                by_x, by_weights, by_bias, by_context = gradients(operands, total, by_target, by_total, upstream)
                if self.normalize:
                    by_x = (by_x - tf.reduce_sum(by_x * x, axis=1, keepdims=True) * x) * x_scale
                by_values_and_negatives = [
                    upstream * by_value + by_context[name] for name, by_value in zip(names, by_values, strict=True)
                ]
                return by_x, by_weights, by_bias, *by_values_and_negatives

            return losses, gradient

        return differentiable(embeddings, weights, bias, *values)

    def _sums(self, operands):
        """Phase 1: target cosines [B] and sums a [B]."""

        def add(state, start, size):
            target, peak, total = state
            part = self._part(operands, start, size)
            z = self._pool(part.products)
            u = self.negative(z, _as_columns(operands.context))
            target += tf.reduce_sum(tf.where(part.is_target, z, 0.0), axis=1)
            if not self.log:
                return target, peak, total + tf.reduce_sum(tf.where(part.is_negative, u, 0.0), axis=1)
            higher = tf.maximum(peak, tf.reduce_max(tf.where(part.is_negative, u, u.dtype.min), axis=1))
            shares = tf.where(part.is_negative, tf.exp(u - higher[:, None]), 0.0)
            return target, higher, total * tf.exp(peak - higher) + tf.reduce_sum(shares, axis=1)

        zeros = tf.zeros_like(operands.x[:, 0])
        target, peak, total = chunks.walk(
            add, (zeros, zeros + zeros.dtype.min, zeros), operands.classes.shape[0], self.chunk_size
        )
        return target, (peak + tf.math.log(total) if self.log else total)

    def _gradients(self, operands, total, by_target, by_total, upstream):
        """Phase 2: gradients of Σ upstream·L to x̂ (or x), weights, bias and each context."""
        x, weights, context = operands.x, operands.weights, _as_columns(operands.context)
        weighted_x = x * upstream[:, None]

        def add(state, start, size):
            by_x, by_weights, by_bias, by_context = state
            part = self._part(operands, start, size)
            with tf.GradientTape() as tape:
                tape.watch([part.products, context])
                z = self._pool(part.products)
                u = self.negative(z, context)
            share = tf.exp(u - total[:, None]) if self.log else tf.ones_like(u)
            by_u = tf.where(part.is_negative, by_total[:, None] * share, 0.0)
            by_z = tf.where(part.is_target, by_target[:, None], 0.0)
            by_products, by_context_part = tape.gradient(
                [u, z], [part.products, context], output_gradients=[by_u, by_z], unconnected_gradients="zero"
            )
            by_context = {name: value + by_context_part[name][:, 0] for name, value in by_context.items()}
            scaled = by_products * part.scale if self.normalize else by_products
            by_x += self._matmul(scaled, part.weights)
            block = self._matmul(scaled, weighted_x, transpose_a=True)
            if self.normalize:
                # ∂z/∂w = (x̂ − z ŵ)/‖w‖: the second term, summed over the batch.
                along = tf.reduce_sum(by_products * part.products * upstream[:, None], axis=0) * part.scale**2
                block -= along[:, None] * part.weights
            by_weights = chunks.write(by_weights, block, start * self.sub_centers, size * self.sub_centers)
            if operands.bias.shape[0]:
                column = tf.linalg.matvec(by_products, upstream, transpose_a=True)
                by_bias = chunks.write(by_bias, column, start, size)
            return by_x, by_weights, by_bias, by_context

        by_context = {name: tf.zeros_like(value) for name, value in operands.context.items()}
        state = tf.zeros_like(x), tf.zeros_like(weights), tf.zeros_like(operands.bias), by_context
        by_x, by_weights, by_bias, by_context = chunks.walk(add, state, operands.classes.shape[0], self.chunk_size)
        by_context = {name: upstream * value for name, value in by_context.items()}
        return by_x * upstream[:, None], by_weights, by_bias, by_context

    def _part(self, operands, start, size):
        """The products of one chunk of classes, and what its columns are."""
        weights = chunks.take(operands.weights, start * self.sub_centers, size * self.sub_centers)
        products = self._matmul(operands.x, weights, transpose_b=True)
        scale = inverse_norms(weights)[:, 0] if self.normalize else None
        if self.normalize:
            products *= scale
        if operands.bias.shape[0]:
            products += chunks.take(operands.bias, start, size)
        is_target = operands.labels[:, None] == chunks.take(operands.classes, start, size)
        return _Part(weights, scale, products, is_target, chunks.take(operands.counts, start, size) & ~is_target)

    def _pool(self, products):
        """Cosines [B, n] of the classes from products [B, n · sub_centers]."""
        if self.sub_centers == 1:
            return products
        return tf.reduce_max(tf.reshape(products, [tf.shape(products)[0], -1, self.sub_centers]), axis=2)

    def _matmul(self, a, b, **options):
        if self.compute_dtype == tf.float32:
            return tf.matmul(a, b, **options)
        # TensorFlow has no product of bfloat16 operands with a float32 sum on every device: rounded, then multiplied.
        a, b = (tf.cast(tf.cast(operand, self.compute_dtype), tf.float32) for operand in (a, b))
        return tf.matmul(a, b, **options)


class _Part(typing.NamedTuple):
    weights: tf.Tensor  # [n · sub_centers, d]
    scale: tf.Tensor | None  # [n · sub_centers], 1/‖w‖
    products: tf.Tensor  # [B, n · sub_centers]
    is_target: tf.Tensor  # bool [B, n]
    is_negative: tf.Tensor  # bool [B, n]


def _as_columns(context):
    return {name: value[:, None] for name, value in context.items()}
