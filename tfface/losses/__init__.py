"""Losses on embeddings and regularisers of class weights, for use beside any classification head or alone.

Each is a Keras layer in float32 without a factor of its own, so that the factors are visible in the sum of losses:
`head(e, y) + 0.1 * losses.TripletLoss()(e, y)`, and `losses.IntraLoss()(e, y, head.class_weights)` for those on class
weights. `HeadWithLosses(head, [(0.1, losses.IntraLoss())])` is the same sum as one head, for `FaceModel`.

A functional model that is saved and loaded would have a copy of the class weights that are passed as an argument; use
`HeadWithLosses` there, which shares them after loading too.
"""

from tfface import needs_tensorflow  # noqa: F401
from tfface.losses.center import CenterLoss
from tfface.losses.contrastive import ContrastiveLoss
from tfface.losses.head_with_losses import HeadWithLosses
from tfface.losses.hyperspherical_energy import HypersphericalEnergy
from tfface.losses.inter import InterLoss
from tfface.losses.intra import IntraLoss
from tfface.losses.ring import RingLoss
from tfface.losses.triplet import TripletLoss

__all__ = [
    "CenterLoss",
    "ContrastiveLoss",
    "HeadWithLosses",
    "HypersphericalEnergy",
    "InterLoss",
    "IntraLoss",
    "RingLoss",
    "TripletLoss",
]
