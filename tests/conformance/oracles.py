"""Each head's loss written from its paper in NumPy, float64, one example at a time.

All functions are analytic in their inputs, so that a complex step gives exact directional derivatives:
d/dh L(x + h v) = Im L(x + i h v) / h. Branches look at real parts only.
"""

import numpy as np


def cosines(embedding, class_weights):
    """cos θ_k [K] between one embedding [d] and the class weights [K, d]; complex inputs are not conjugated."""
    embedding = embedding + 0j
    embedding = embedding / np.sqrt(np.sum(embedding * embedding))
    class_weights = class_weights / np.sqrt(np.sum(class_weights * class_weights, axis=1, keepdims=True))
    return class_weights @ embedding


def cross_entropy(logits, label):
    """−log softmax(logits)[label], shifted by the real maximum."""
    shifted = logits - logits.real.max()
    return np.log(np.sum(np.exp(shifted))) - shifted[label]


def norm_softmax(cos, label, scale):
    return cross_entropy(scale * cos, label)


def cosface(cos, label, scale, margin):
    logits = scale * cos
    logits[label] = scale * (cos[label] - margin)
    return cross_entropy(logits, label)


def arcface(cos, label, scale, margin, overflow="fallback"):
    logits = scale * cos
    theta = np.arccos(np.clip(cos[label].real, -1, 1) + 1j * cos[label].imag)
    if theta.real + margin > np.pi and overflow == "fallback":
        logits[label] = scale * (cos[label] - margin * np.sin(margin))
    else:
        logits[label] = scale * np.cos(theta + margin)
    return cross_entropy(logits, label)


def losses(head_oracle, embeddings, class_weights, labels):
    """Losses [B] of a head given as function (cosines [K], label) -> loss."""
    return np.array(
        [
            head_oracle(cosines(embedding, class_weights), label)
            for embedding, label in zip(embeddings, labels, strict=True)
        ]
    )


def directional_derivatives(head_oracle, embeddings, class_weights, labels, by_embeddings, by_weights, step=1e-20):
    """d losses [B] along one direction (by_embeddings [B, d], by_weights [K, d]), exact to rounding."""
    moved = losses(head_oracle, embeddings + 1j * step * by_embeddings, class_weights + 1j * step * by_weights, labels)
    return moved.imag / step
