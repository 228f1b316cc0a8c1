"""Classification heads: one file each, with its two functions, its defaults and its paper."""

from tfface.heads.arcface import ArcFace
from tfface.heads.base import ClassificationHead
from tfface.heads.cosface import CosFace
from tfface.heads.norm_softmax import NormSoftmax

__all__ = ["ArcFace", "ClassificationHead", "CosFace", "NormSoftmax"]
