"""Figures of the papers by name, such as `AngleDistributions(run="runs/cfp")`, drawn from the files of your own runs.

A figure reads its files when it is made; `draw` returns a matplotlib Figure and may write it to a file.
"""

from tfface import lazy

_HOMES = {
    "base": ("PaperFigure",),
    "angle_distributions": ("AngleDistributions",),
    "class_weight_cosines": ("ClassWeightCosines",),
    "decision_margins": ("DecisionMargins",),
    "embedding_drift": ("EmbeddingDrift",),
    "nearest_class_weights": ("NearestClassWeights",),
    "pair_histograms": ("PairHistograms",),
    "random_directions": ("RandomDirections",),
    "toy_embeddings": ("ToyEmbeddings",),
}

# What `--figure` and the list of components name.
COMPONENTS = tuple(name for module, names in _HOMES.items() if module != "base" for name in names)

__getattr__, __dir__ = lazy.exports(__name__, _HOMES)
