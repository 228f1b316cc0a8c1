"""Decision margins between two classes: ArcFace's Figure 5."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from tfface.config import components
from tfface.evaluation.reports.plots import COLOURS
from tfface.figures.base import PaperFigure, panels

_HEADS = ("NormSoftmax", "SphereFace(margin=1.35)", "CosFace(margin=0.35)", "ArcFace(margin=0.5)")


class DecisionMargins(PaperFigure):
    """Decision boundaries of two classes by the angles of an image to both, with the margin between them.

    It needs no files and has a panel per head. Below the diagonal are the images of class 2. An image of class 1 has to
    lie above the boundary of its class, where its logit with the margin equals that of class 2.

    Args:
      heads: heads as text, such as `["ArcFace(margin=0.5)"]`, whose logits depend on the angles alone.

    Attributes:
      boundaries: list of float64 [181], one per head: the angle to class 2 on the boundary of class 1, in degrees, by
        the whole degrees of the angle to class 1. NaN: no angle to class 2 is large enough.

    Raises:
      ValueError: a head is malformed, or its logits depend on more than the angles.

    Reference:
      Deng et al., ArcFace, CVPR 2019, Figure 5.
    """

    def __init__(self, heads: Sequence[str] = _HEADS):
        if isinstance(heads, str) or not heads:
            raise ValueError(f"`heads` must be a list of heads, such as [{_HEADS[-1]!r}], got {heads!r}.")
        self.heads = list(heads)
        self.boundaries = [_boundary(head) for head in self.heads]

    def figure(self) -> Figure:
        columns = min(2, len(self.heads))
        figure, grid = panels(len(self.heads), 4.5, 4.5, columns)
        degrees = np.arange(181)
        for axes, head, other in zip(grid, self.heads, self.boundaries, strict=True):
            there = np.isfinite(other)
            x, y = degrees[there], other[there]
            # Where no angle to the other class is large enough, the margin reaches to the end.
            upper = np.where(there, other, 180)
            axes.fill_between(degrees, np.interp(degrees, y, x, left=0), upper, color="#CCCCCC", label="margin")
            axes.plot(x, y, color=COLOURS[0], linestyle="--", linewidth=1.6, label="boundary of class 1")
            axes.plot(y, x, color=COLOURS[1], linestyle="--", linewidth=1.6, label="boundary of class 2")
            axes.set_title(head, fontsize=10, loc="left", parse_math=False)
            axes.set_xlim(0, 180)
            axes.set_ylim(0, 180)
            axes.set_xticks(range(0, 181, 30))
            axes.set_yticks(range(0, 181, 30))
            axes.set_aspect("equal")
            axes.set_xlabel("angle to the class weight 1 (degrees)")
            axes.set_ylabel("angle to the class weight 2 (degrees)")
            axes.legend(fontsize=8, loc="lower right")
        return figure


def _boundary(text):
    head = components.build("head", text, {"num_classes": 2})
    angles = np.linspace(0, 180, 18_001)
    cosines = tf.constant(np.cos(np.radians(angles)), tf.float32)
    try:
        if not head.normalize:
            raise ValueError(f"{text}: its logits depend on the lengths of embeddings and class weights too.")
        own = np.asarray(head.target_logit(cosines[::100], {}), np.float64)
        others = np.asarray(head.negative_logit(cosines, {}), np.float64)
    except (KeyError, AttributeError) as error:
        raise ValueError(f"{text}: its logits depend on more than the angles ({error}).") from None
    # The logit of the other class falls with its angle; where none is small enough there is no boundary.
    return np.interp(own, others[::-1], angles[::-1], left=np.nan, right=0.0)
