"""The engine behind every classification head: loss and analytic gradients from two small functions.

For unit embeddings x̂_i and unit class weights ŵ_k, cosines z_ik = x̂_i·ŵ_k and target cosines t_i = z_{i,y_i}, a head
supplies the exponent u of its negative cost φ = e^u and the function F that joins target and negatives:

    a_i = log Σ_{k ≠ y_i} e^{u(z_ik)}          L_i = F(t_i, a_i)

Automatic differentiation sees F on vectors of B numbers only; what remains is written out, so that the matrix [B, K]
is made once and its gradient once:

    ∂L_i/∂z_ik = F_a(i) · e^{u(z_ik) − a_i} · u'(z_ik)   (k ≠ y_i)          ∂L_i/∂t_i = F_t(i)
"""

import tensorflow as tf


def classification_loss(embeddings, class_weights, labels, negative, loss):
    """Computes the per-example loss of a head, with gradients to embeddings and class weights.

    Args:
      embeddings: float32 [B, d], any norm. The gradient of an all-zero row is zero.
      class_weights: float32 [K, d], any norm.
      labels: integer [B], each in [0, K).
      negative: function u, from cosines [B, K] to exponents [B, K], elementwise.
      loss: function F, from target cosines [B] and log-sums [B] to losses [B].

    Returns:
      float32 [B].

    Raises:
      tf.errors.InvalidArgumentError: a label is outside [0, K).
    """
    labels = check_labels(labels, class_weights.shape[0])

    @tf.custom_gradient
    def differentiable(embeddings, class_weights):
        x, x_scale = unit_rows(embeddings)
        w_scale = inverse_norms(class_weights)
        cosines = tf.matmul(x, class_weights, transpose_b=True) * w_scale[:, 0]
        target = tf.gather(cosines, labels, batch_dims=1)
        is_target = tf.one_hot(labels, class_weights.shape[0], on_value=True, off_value=False, dtype=tf.bool)

        with tf.GradientTape() as tape:
            tape.watch(cosines)
            exponents = negative(cosines)
        slope = tape.gradient(exponents, cosines)
        exponents = tf.where(is_target, exponents.dtype.min, exponents)
        log_sum = tf.reduce_logsumexp(exponents, axis=1)
        with tf.GradientTape() as tape:
            tape.watch((target, log_sum))
            losses = loss(target, log_sum)
        loss_by_target, loss_by_log_sum = tape.gradient(losses, (target, log_sum))

        def gradient(upstream):
            share = tf.exp(exponents - log_sum[:, None])
            by_cosine = (upstream * loss_by_log_sum)[:, None] * share * slope
            by_cosine = tf.where(is_target, (upstream * loss_by_target)[:, None], by_cosine)
            # ∂z/∂w = (x̂ − z ŵ)/‖w‖ and ∂z/∂x = (ŵ − z x̂)/‖x‖, summed over the batch and over the classes.
            scaled = by_cosine * w_scale[:, 0]
            along_w = tf.reduce_sum(by_cosine * cosines, axis=0)[:, None] * tf.square(w_scale)
            by_weights = tf.matmul(scaled, x, transpose_a=True) - along_w * class_weights
            by_unit_x = tf.matmul(scaled, class_weights)
            by_embeddings = (by_unit_x - tf.reduce_sum(by_unit_x * x, axis=1, keepdims=True) * x) * x_scale
            return by_embeddings, by_weights

        return losses, gradient

    return differentiable(embeddings, class_weights)


def check_labels(labels, num_classes):
    """Returns `labels` [B], checked to be integers of [0, num_classes), whatever the device does on a wrong gather.

    Raises:
      ValueError: labels are not integers, or not a vector.
      tf.errors.InvalidArgumentError: a label is out of range; names the labels and the limit.
    """
    labels = tf.convert_to_tensor(labels)
    if not labels.dtype.is_integer:
        raise ValueError(f"labels must be integers, got {labels.dtype.name}.")
    if labels.shape.rank is not None and labels.shape.rank != 1:
        raise ValueError(f"labels must have shape [B], got {labels.shape}.")
    limit = tf.cast(num_classes, labels.dtype)
    in_range = tf.reduce_all((labels >= 0) & (labels < limit))
    message = f"labels must be in [0, {num_classes}), the classes of the head; got"
    with tf.control_dependencies([tf.debugging.Assert(in_range, [message, labels], summarize=16)]):
        return tf.identity(labels)


def unit_rows(x):
    """Returns x̂ [B, d] and the factors [B, 1] that made it: 1/‖x‖, and 0 for rows of zeros.

    The largest magnitude is divided out first, so that neither tiny nor huge rows underflow or overflow when squared.
    """
    peak = tf.reduce_max(tf.abs(x), axis=-1, keepdims=True)
    peak = tf.where(peak > 0, peak, tf.ones_like(peak))
    x = x / peak
    scale = inverse_norms(x)
    return x * scale, scale / peak


def inverse_norms(x):
    """Returns 1/‖row‖ [N, 1] of x [N, d], and 0 for rows of zeros."""
    squares = tf.reduce_sum(tf.square(x), axis=-1, keepdims=True)
    return tf.math.divide_no_nan(tf.ones_like(squares), tf.sqrt(squares))
