"""Values and gradients of tensorflow-addons, for `test_addons.py`; runs in the environment of requirements.txt.

Usage: python reference.py batches.npz reference.npz
"""

import itertools
import sys

import numpy as np
import tensorflow as tf
import tensorflow_addons as tfa

TRIPLET_LOSSES = {
    "semi_hard": tfa.losses.TripletSemiHardLoss,
    "batch_hard": tfa.losses.TripletHardLoss,
    "batch_hard_soft": lambda **options: tfa.losses.TripletHardLoss(soft=True, **options),
}
DISTANCES = ("L2", "squared-L2", "angular")
MARGINS = (0.2, 1.0)


def value_and_gradient(loss, truth, prediction):
    prediction = tf.constant(prediction)
    with tf.GradientTape() as tape:
        tape.watch(prediction)
        value = loss(truth, prediction)
    return value.numpy(), tape.gradient(value, prediction).numpy()


def main(batches, reference):
    """Keys are `batch:loss:distance:margin:quantity`."""
    results = {}

    def add(key, loss, truth, prediction):
        results[f"{key}:value"], results[f"{key}:gradient"] = value_and_gradient(loss, truth, prediction)

    with np.load(batches, allow_pickle=False) as arrays:
        arrays = dict(arrays)
    for batch in sorted({name.split(":")[0] for name in arrays}):
        labels, embeddings = arrays[f"{batch}:labels"], arrays[f"{batch}:embeddings"]
        for name, distance, margin in itertools.product(TRIPLET_LOSSES, DISTANCES, MARGINS):
            loss = TRIPLET_LOSSES[name](margin=margin, distance_metric=distance)
            add(f"{batch}:{name}:{distance}:{margin}", loss, labels, embeddings)
        for margin in MARGINS:
            loss = tfa.losses.ContrastiveLoss(margin=margin, reduction="none")
            add(f"{batch}:contrastive:given:{margin}", loss, arrays[f"{batch}:genuine"], arrays[f"{batch}:distances"])
    np.savez(reference, **results)


if __name__ == "__main__":
    main(*sys.argv[1:])
