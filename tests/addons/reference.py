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
OPTIMIZERS = {
    "sgdw": lambda decay, rate: tfa.optimizers.SGDW(decay, rate, momentum=0.9),
    "lamb": lambda decay, rate: tfa.optimizers.LAMB(rate, weight_decay_rate=decay),
    "lamb_excluded": lambda decay, rate: tfa.optimizers.LAMB(
        rate, weight_decay_rate=decay, exclude_from_weight_decay=["bias"]
    ),
}
DISTANCES = ("L2", "squared-L2", "angular")
MARGINS = (0.2, 1.0)


def value_and_gradient(loss, truth, prediction):
    prediction = tf.constant(prediction)
    with tf.GradientTape() as tape:
        tape.watch(prediction)
        value = loss(truth, prediction)
    return value.numpy(), tape.gradient(value, prediction).numpy()


def trajectory(optimizer, gradients):
    """Weights after each step; `gradients` are {name: [steps + 1, ...]}, the first of which is where weights start."""
    variables = {name: tf.Variable(values[0], name=name) for name, values in gradients.items()}
    steps = {name: [] for name in gradients}
    for step in range(1, len(gradients["kernel"])):
        optimizer.apply_gradients([(tf.constant(gradients[name][step]), variables[name]) for name in gradients])
        for name, variable in variables.items():
            steps[name].append(variable.numpy())
    return steps


def main(batches, reference):
    """Keys are `batch:loss:distance:margin:quantity`, and `optimizer:name:variable` of the trajectories."""
    results = {}

    def add(key, loss, truth, prediction):
        results[f"{key}:value"], results[f"{key}:gradient"] = value_and_gradient(loss, truth, prediction)

    with np.load(batches, allow_pickle=False) as arrays:
        arrays = dict(arrays)
    gradients = {name: arrays.pop(name) for name in ("kernel", "bias")}
    for name, make in OPTIMIZERS.items():
        for kind, weights in trajectory(make(decay=0.05, rate=0.1), gradients).items():
            results[f"optimizer:{name}:{kind}"] = weights
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
