"""The losses once more, example by example in NumPy float64, as slow and plain as the papers' sums."""

import math

import numpy as np


def unit(v):
    return v / np.linalg.norm(v)


def angle(a, b):
    return math.acos(np.clip(unit(a) @ unit(b), -1, 1))


DISTANCES = {
    "angular": angle,
    "cosine": lambda a, b: 1 - unit(a) @ unit(b),
    "euclidean": lambda a, b: math.sqrt(np.sum((a - b) ** 2)),
    "squared_euclidean": lambda a, b: np.sum((a - b) ** 2),
}


def intra(x, labels, weights):
    return np.array([angle(x[i], weights[y]) / math.pi for i, y in enumerate(labels)])


def inter(x, labels, weights):
    others = [[angle(weights[y], w) for j, w in enumerate(weights) if j != y] for y in labels]
    return np.array([-np.mean(angles) / math.pi for angles in others])


def center(x, labels, centers):
    return np.array([0.5 * np.sum((x[i] - centers[y]) ** 2) for i, y in enumerate(labels)])


def moved_centers(x, labels, centers, center_lr):
    moved = centers.copy()
    for j in range(len(centers)):
        of_class = [x[i] for i, y in enumerate(labels) if y == j]
        moved[j] -= center_lr * sum((centers[j] - member for member in of_class), 0.0) / (1 + len(of_class))
    return moved


def ring(x, radius):
    return np.array([0.5 * (np.linalg.norm(row) - radius) ** 2 for row in x])


def hyperspherical_energy(weights, power):
    energies = []
    for i in range(len(weights)):
        for j in range(len(weights)):
            if i != j:
                distance = np.linalg.norm(unit(weights[i]) - unit(weights[j]))
                energies.append(-math.log(distance) if power == 0 else distance**-power)
    return np.mean(energies)


def contrastive(pairs, genuine, margin):
    losses = []
    for (a, b), same in zip(pairs, genuine, strict=True):
        distance = np.linalg.norm(a - b)
        losses.append(distance**2 if same else max(margin - distance, 0) ** 2)
    return np.array(losses)


def contrastive_of_batch(x, labels, margin, distance):
    """Losses [B]: the mean over the pairs of each example."""
    losses = []
    for i in range(len(x)):
        pairs = [(DISTANCES[distance](x[i], x[j]), labels[i] == labels[j]) for j in range(len(x)) if j != i]
        losses.append(np.mean([d**2 if same else max(margin - d, 0) ** 2 for d, same in pairs]) if pairs else 0.0)
    return np.array(losses)


def triplet(x, labels, margin, mining, distance, soft):
    """Losses [B]: list the triplets of every anchor, then average as the docstring of TripletLoss says."""
    batch = range(len(x))
    between = np.array([[0.0 if i == j else DISTANCES[distance](x[i], x[j]) for j in batch] for i in batch])
    costs = [[] for _ in batch]
    for a in batch:
        positives = [between[a, p] for p in batch if p != a and labels[p] == labels[a]]
        negatives = [between[a, n] for n in batch if labels[n] != labels[a]]
        if not negatives:
            continue
        if mining == "batch_hard":
            chosen = [(max(positives, default=0.0), min(negatives))]
        elif mining == "semi_hard":
            chosen = [(p, min((n for n in negatives if n > p), default=max(negatives))) for p in positives]
        else:
            chosen = [(p, n) for p in positives for n in negatives]
        costs[a] = [math.log1p(math.exp(p - n)) if soft else max(p - n + margin, 0.0) for p, n in chosen]
    sums = np.array([sum(of_anchor) for of_anchor in costs])
    if mining == "batch_hard":
        return sums
    return sums * len(x) / max(sum(map(len, costs)), 1)


def directional_derivative(function, points, directions, step=1e-6):
    """Central difference of a function of several arrays along one direction of each."""
    ahead, behind = (
        function(*(point + sign * step * direction for point, direction in zip(points, directions, strict=True)))
        for sign in (1, -1)
    )
    return (ahead - behind) / (2 * step)
