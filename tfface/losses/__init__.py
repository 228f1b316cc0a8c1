"""Losses on embeddings and regularisers of class weights, for use beside any classification head or alone.

Each is a Keras layer in float32 without a factor of its own, so that the factors are visible in the sum of losses:
`head(e, y) + 0.1 * losses.TripletLoss()(e, y)`, and `losses.IntraLoss()(e, y, head.class_weights)` for those on class
weights. `tfface.heads.HeadWithLosses(head, [(0.1, losses.IntraLoss())])` is the same sum as one head, for `FaceModel`.

A functional model that is saved and loaded would have a copy of the class weights that are passed as an argument; use
`HeadWithLosses` there, which shares them after loading too.
"""

from tfface import lazy

_HOMES = {
    "base": (),
    "distances": (),
    "center": ("CenterLoss",),
    "contrastive": ("ContrastiveLoss",),
    "hyperspherical_energy": ("HypersphericalEnergy",),
    "inter": ("InterLoss",),
    "intra": ("IntraLoss",),
    "ring": ("RingLoss",),
    "triplet": ("TripletLoss",),
}

SERIALIZABLE = _HOMES

# What `--loss` and the list of components name.
COMPONENTS = tuple(name for names in _HOMES.values() for name in names)

__getattr__, __dir__ = lazy.exports(__name__, _HOMES, check_tensorflow=True)
