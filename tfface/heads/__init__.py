"""Classification heads: one file each, with its two functions, its defaults and its paper."""

from tfface import lazy

_HOMES = {
    "margin_softmax": (),
    "margins": (),
    "wrapper": (),
    "adaface": ("AdaFace",),
    "arcface": ("ArcFace",),
    "base": ("ClassificationHead",),
    "broadface": ("BroadFace",),
    "circle": ("CircleLoss",),
    "coco": ("CoCo",),
    "combined_margin": ("CombinedMargin",),
    "cosface": ("CosFace",),
    "curricularface": ("CurricularFace",),
    "dsoftmax": ("DSoftmax",),
    "dsoftmax_b": ("DSoftmaxB",),
    "dsoftmax_k": ("DSoftmaxK",),
    "logits": ("HeadLogits",),
    "magface": ("MagFace",),
    "norm_softmax": ("NormSoftmax",),
    "rand": (
        "RandArcFace",
        "RandSoftmax",
    ),
    "softmax": ("Softmax",),
    "sphereface": ("SphereFace",),
    "sphereface2": ("SphereFace2",),
    "subcenter_arcface": ("SubCenterArcFace",),
    "with_losses": ("HeadWithLosses", "LossesAlone"),
}

SERIALIZABLE = {module: names for module, names in _HOMES.items() if module != "base"}

# What `--head` and the list of components name; `--loss` adds losses to a head, or makes them stand alone.
COMPONENTS = tuple(
    name for module, names in SERIALIZABLE.items() if module not in ("logits", "with_losses") for name in names
)

__getattr__, __dir__ = lazy.exports(__name__, _HOMES, check_tensorflow=True)
