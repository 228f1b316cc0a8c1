"""The engine behind every classification head: loss and analytic gradients from two small functions.

For unit embeddings x̂_i and unit class weights ŵ_k, cosines z_ik = x̂_i·ŵ_k and target cosines t_i = z_{i,y_i}, a head
supplies what one negative costs, u, and how target and negatives make the loss, F:

    a_i = log Σ_{k ∈ N_i} e^{u(z_ik)}   or   a_i = Σ_{k ∈ N_i} u(z_ik)          L_i = F(t_i, a_i)

Automatic differentiation sees F on vectors of B numbers, and u element by element; the rest is written out:

    ∂L_i/∂z_ik = F_a(i) · e^{u(z_ik) − a_i} · u'(z_ik)   (k ∈ N_i; without the exponential for the plain sum)
    ∂L_i/∂t_i = F_t(i)

Two phases, the sums and the gradients, walk the classes in chunks, so that a matrix [B, K] need never exist.

With classes partitioned into shards, t_i and a_i are summed over the shards between the phases. A plain sum enters F as
F(t, a) = f(t) + a, so its gradients need no other shard and do not wait.
"""

import functools
import typing

import tensorflow as tf

from tfface.classifier import chunks
from tfface.distribute import xla
from tfface.geometry import inverse_norms, unit_rows

# XLA repays its compilation where the matrix [B, K] is large.
_XLA_FROM_CLASSES = 8192

# The smallest normal float64, e^-708: sums of exponentials over shards lie between it and e^709.
_SMALLEST = 2.2250738585072014e-308


class Operands(typing.NamedTuple):
    """The inputs of both phases, for all classes or one chunk."""

    x: tf.Tensor  # [B, d], unit rows where cosines are wanted
    weights: tf.Tensor  # [n · sub_centers, d]
    bias: tf.Tensor  # [n], or [0]
    context: dict  # of [B]
    labels: tf.Tensor  # int64 [B]
    classes: tf.Tensor  # int64 [n], -1 for none
    counts: tf.Tensor  # bool [n]

    def part(self, start, size):
        """Returns the operands of `size` classes from `start`."""
        if size == self.classes.shape[0]:
            return self
        rows = self.weights.shape[0] // self.classes.shape[0]
        return self._replace(
            weights=chunks.take(self.weights, start * rows, size * rows),
            bias=chunks.take(self.bias, start, size) if self.bias.shape[0] else self.bias,
            classes=chunks.take(self.classes, start, size),
            counts=chunks.take(self.counts, start, size),
        )


class Engine:
    """Per-example losses of a head, with gradients to embeddings, class weights, bias and context.

    Args:
      negative: function u (cosines [B, n], context) -> [B, n], elementwise; context tensors are [B, 1].
      loss: function F (target [B], a [B], context) -> losses [B], elementwise; context tensors are [B].
      reduction: "logsumexp" or "sum", how a is made of u.
      normalize: bool; False: raw dot products take the place of cosines.
      sub_centers: int, rows of weights per class; the one with the largest cosine counts.
      chunk_size: int, classes at a time; None: all at once.
      compute_dtype: dtype that the operands of the matrix products are rounded to; all sums are float32.
      jit_compile: bool, XLA for the two phases; None: where there are many classes and XLA is available.
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
        self._compiled = {
            in_xla: [
                tf.function(part, jit_compile=in_xla, autograph=False)
                for part in (functools.partial(self._sums_part, in_xla=in_xla), self._gradients_part)
            ]
            for in_xla in (False, True)
        }

    def __call__(
        self,
        embeddings,
        weights,
        labels,
        context=None,
        bias=None,
        classes=None,
        counts=None,
        reach="both",
        shard_sum=None,
    ):
        """Computes the losses of a batch.

        Args:
          embeddings: float32 [B, d], any norm. The gradient of an all-zero row is zero.
          weights: float32 [n · sub_centers, d], rows of n classes, any norm; n is static where there are chunks.
          labels: integer [B], classes of the examples.
          context: dict of float32 [B], handed to both functions; gradients reach it.
          bias: float32 [n], added to the products; None: no bias.
          classes: integer [n], class of each row, -1 for a void row; None: row k is class k.
          counts: bool [n], classes that count as negatives; None: all. A label is never its own negative.
          reach: where gradients go: "both", "embeddings" or "weights" (with the bias). Queued rows of past embeddings
            reach the weights only. A gradient that is not asked for costs no matrix product.
          shard_sum: function from a tensor to its sum over the shards, if these classes are one shard; the gradients
            of embeddings, bias and context are then this shard's part. None: these are all classes.

        Returns:
          float32 [B].

        Raises:
          ValueError: the number of classes is not static, with chunks.
        """
        names, values = list(context or {}), list((context or {}).values())
        # Not int32, which TensorFlow compares on the host: a matrix [B, n] would go to the GPU in each step.
        labels = tf.cast(labels, tf.int64)
        if classes is None:
            classes = tf.range(weights.shape[0] // self.sub_centers, dtype=tf.int64)
        classes = tf.cast(classes, tf.int64)
        if self.chunk_size is not None and classes.shape[0] is None:
            raise ValueError(
                "chunks of sampled classes need batches of a static size: batch(..., drop_remainder=True); "
                f"got {classes.shape[0]} examples."
            )
        counts = classes >= 0 if counts is None else counts & (classes >= 0)
        bias = tf.zeros([0]) if bias is None else bias

        @tf.custom_gradient
        def differentiable(embeddings, weights, bias, *values):
            # Otherwise an outer tape would record the phases too, and keep their matrices [B, K] for nothing.
            embeddings, weights, bias, *values = map(tf.stop_gradient, (embeddings, weights, bias, *values))
            context = dict(zip(names, values, strict=True))
            x, x_scale = unit_rows(embeddings) if self.normalize else (embeddings, None)
            operands = Operands(x, weights, bias, context, labels, classes, counts)
            target, total, products, scale = self._sums(operands)
            whole = (target, total) if shard_sum is None else self._over_shards(target, total, shard_sum)
            target, total = whole if self.log else (target, total)
            with tf.GradientTape() as tape:
                tape.watch([target, total, *values])
                losses = self.loss(target, total, context)
            slopes = tape.gradient(losses, [target, total, *values], unconnected_gradients="zero")
            by_target, by_total, *by_values = slopes
            if shard_sum is not None:
                # Add F's own context gradient once, on the shard that owns the target.
                here = tf.cast(tf.reduce_any(labels[:, None] == classes, axis=1), tf.float32)
                by_values = [here * by_value for by_value in by_values]
                losses = losses if self.log else self.loss(*whole, context)

            def gradient(upstream):
                upstream = tf.convert_to_tensor(upstream)
                by_x, by_weights, by_bias, by_context = self._gradients(
                    operands, products, scale, total, by_target, by_total, upstream, reach
                )
                if self.normalize and by_x is not None:
                    by_x = (by_x - tf.reduce_sum(by_x * x, axis=1, keepdims=True) * x) * x_scale
                by_values_and_negatives = [
                    upstream * by_value + by_context[name] for name, by_value in zip(names, by_values, strict=True)
                ]
                return by_x, by_weights, by_bias, *by_values_and_negatives

            return losses, gradient

        return differentiable(embeddings, weights, bias, *values)

    def _sums(self, operands):
        """Phase 1: target cosines [B], sums a [B]; products, None if they were made in chunks; factors 1/‖w‖."""
        sums_part, _ = self._parts(operands)
        whole = not self._chunked(operands)
        kept = []

        def add(state, start, size):
            target, peak, total, scale = state
            part_target, part_peak, part_total, products, part_scale = sums_part(operands.part(start, size), keep=whole)
            if whole:
                kept.append(products)
            if self.normalize:
                rows = None if size is None else size * self.sub_centers
                scale = chunks.write(scale, part_scale, start * self.sub_centers, rows)
            if not self.log:
                return target + part_target, peak, total + part_total, scale
            higher = tf.maximum(peak, part_peak)
            total = total * tf.exp(peak - higher) + part_total * tf.exp(part_peak - higher)
            return target + part_target, higher, total, scale

        zeros = tf.zeros_like(operands.x[:, 0])
        factors = operands.weights[:, 0] if self.normalize else tf.zeros([0])
        start = zeros, zeros + zeros.dtype.min, zeros, factors if whole else chunks.buffer(factors)
        target, peak, total, scale = chunks.walk(add, start, operands.classes.shape[0], self.chunk_size)
        return target, (peak + tf.math.log(total) if self.log else total), kept[0] if whole else None, scale

    def _sums_part(self, operands, keep, in_xla):
        scale = inverse_norms(operands.weights, in_xla)[:, 0] if self.normalize else tf.zeros([0])
        products = self._products(operands, scale)
        z = self._pool(products)
        is_target, is_negative = _masks(operands)
        u = self.negative(z, _as_columns(operands.context))
        target = tf.reduce_sum(tf.where(is_target, z, 0.0), axis=1)
        products = products if keep else None
        if not self.log:
            total = tf.reduce_sum(tf.where(is_negative, u, 0.0), axis=1)
            return target, tf.zeros_like(total), total, products, scale
        peak = tf.reduce_max(tf.where(is_negative, u, u.dtype.min), axis=1)
        total = tf.reduce_sum(tf.where(is_negative, tf.exp(u - peak[:, None]), 0.0), axis=1)
        return target, peak, total, products, scale

    def _over_shards(self, target, total, shard_sum):
        """Target cosines and a over all shards from those of this shard, in a single sum of [2, B]."""
        # In float64 the exponentials need no common peak, which a sum could not find.
        parts = tf.cast(total, tf.float64)
        parts = tf.exp(parts) if self.log else parts
        target, total = tf.unstack(shard_sum(tf.stack([tf.cast(target, tf.float64), parts])))
        total = tf.math.log(tf.maximum(total, _SMALLEST)) if self.log else total
        return tf.cast(target, tf.float32), tf.cast(total, tf.float32)

    def _gradients(self, operands, products, scale, total, by_target, by_total, upstream, reach):
        """Phase 2: gradients of Σ upstream·L to x̂ (or x), weights, bias and each context; None if not asked for."""
        _, gradients_part = self._parts(operands)
        to_x, to_weights = reach in ("both", "embeddings"), reach in ("both", "weights")

        def add(state, start, size):
            by_x, by_weights, by_bias, by_context = state
            rows = None if size is None else size * self.sub_centers
            part_scale = chunks.take(scale, start * self.sub_centers, rows) if self.normalize else scale
            part_x, part_weights, part_bias, part_context = gradients_part(
                operands.part(start, size), products, part_scale, total, by_target, by_total, upstream, to_x, to_weights
            )
            if to_x:
                by_x += part_x
            if to_weights:
                by_weights = chunks.write(by_weights, part_weights, start * self.sub_centers, rows)
            if to_weights and operands.bias.shape[0]:
                by_bias = chunks.write(by_bias, part_bias, start, size)
            return by_x, by_weights, by_bias, {name: by_context[name] + part_context[name] for name in by_context}

        empty = chunks.buffer if self._chunked(operands) and to_weights else tf.identity
        by_context = {name: tf.zeros_like(value) for name, value in operands.context.items()}
        state = tf.zeros_like(operands.x), empty(operands.weights), empty(operands.bias), by_context
        by_x, by_weights, by_bias, by_context = chunks.walk(add, state, operands.classes.shape[0], self.chunk_size)
        return by_x if to_x else None, *((by_weights, by_bias) if to_weights else (None, None)), by_context

    def _gradients_part(self, operands, products, scale, total, by_target, by_total, upstream, to_x, to_weights):
        products = self._products(operands, scale) if products is None else products
        is_target, is_negative = _masks(operands)
        context = _as_columns(operands.context)
        with tf.GradientTape() as tape:
            tape.watch([products, context])
            z = self._pool(products)
            u = self.negative(z, context)
        share = tf.exp(u - total[:, None]) if self.log else 1.0
        by_u = tf.where(is_negative, by_total[:, None] * share, 0.0)
        by_z = tf.where(is_target, by_target[:, None], 0.0)
        by_products, by_context = tape.gradient(
            [u, z], [products, context], output_gradients=[by_u, by_z], unconnected_gradients="zero"
        )
        by_context = {name: upstream * value[:, 0] for name, value in by_context.items()}
        scaled = by_products * scale if self.normalize else by_products
        by_x = self._matmul(scaled, operands.weights) * upstream[:, None] if to_x else None
        if not to_weights:
            return by_x, None, None, by_context
        by_weights = self._matmul(scaled, operands.x * upstream[:, None], transpose_a=True)
        if self.normalize:
            # ∂z/∂w = (x̂ − z ŵ)/‖w‖: the second term, summed over the batch.
            along = tf.reduce_sum(by_products * products * upstream[:, None], axis=0) * scale**2
            by_weights -= along[:, None] * operands.weights
        by_bias = tf.linalg.matvec(by_products, upstream, transpose_a=True) if operands.bias.shape[0] else None
        return by_x, by_weights, by_bias, by_context

    def _chunked(self, operands):
        return self.chunk_size is not None and self.chunk_size < operands.classes.shape[0]

    def _parts(self, operands):
        """`_sums_part` and `_gradients_part`, compiled or not.

        Loops over them stay outside of XLA, which copies the inputs of its loops, here the class weights.
        """
        at_once = self.chunk_size if self._chunked(operands) else operands.classes.shape[0] or 0
        wanted = at_once >= _XLA_FROM_CLASSES and xla.available() if self.jit_compile is None else self.jit_compile
        return self._compiled[wanted]

    def _products(self, operands, scale):
        """Products [B, n · sub_centers], with the factors 1/‖w‖ [n · sub_centers] where cosines are wanted."""
        products = self._matmul(operands.x, operands.weights, transpose_b=True)
        if self.normalize:
            products *= scale
        if operands.bias.shape[0]:
            products += operands.bias
        return products

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


def _masks(operands):
    """Returns two masks [B, n], of the targets and of the negatives."""
    is_target = operands.labels[:, None] == operands.classes
    return is_target, operands.counts & ~is_target


def _as_columns(context):
    return {name: value[:, None] for name, value in context.items()}
