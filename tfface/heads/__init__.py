"""Classification heads: one file each, with its two functions, its defaults and its paper."""

from tfface import needs_tensorflow  # noqa: F401
from tfface.heads.adaface import AdaFace
from tfface.heads.arcface import ArcFace
from tfface.heads.base import ClassificationHead
from tfface.heads.broadface import BroadFace
from tfface.heads.circle import CircleLoss
from tfface.heads.coco import CoCo
from tfface.heads.combined_margin import CombinedMargin
from tfface.heads.cosface import CosFace
from tfface.heads.curricularface import CurricularFace
from tfface.heads.dsoftmax import DSoftmax
from tfface.heads.dsoftmax_b import DSoftmaxB
from tfface.heads.dsoftmax_k import DSoftmaxK
from tfface.heads.magface import MagFace
from tfface.heads.norm_softmax import NormSoftmax
from tfface.heads.rand import RandArcFace, RandSoftmax
from tfface.heads.softmax import Softmax
from tfface.heads.sphereface import SphereFace
from tfface.heads.sphereface2 import SphereFace2
from tfface.heads.subcenter_arcface import SubCenterArcFace

__all__ = [
    "AdaFace",
    "ArcFace",
    "BroadFace",
    "CircleLoss",
    "ClassificationHead",
    "CoCo",
    "CombinedMargin",
    "CosFace",
    "CurricularFace",
    "DSoftmax",
    "DSoftmaxB",
    "DSoftmaxK",
    "MagFace",
    "NormSoftmax",
    "RandArcFace",
    "RandSoftmax",
    "Softmax",
    "SphereFace",
    "SphereFace2",
    "SubCenterArcFace",
]
