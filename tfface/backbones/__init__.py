"""Networks that map aligned faces to embeddings."""

from tfface import lazy

_HOMES = {
    "batch_norm": (),
    "complexity": (),
    "weights": (),
    "iresnet": (
        "IResNet",
        "IResNet18",
        "IResNet34",
        "IResNet50",
        "IResNet100",
        "IResNet200",
    ),
    "layers": ("synchronize_batch_norm",),
    "mobilefacenet": (
        "InsightFaceMobileFaceNet",
        "MobileFaceNet",
    ),
    "resnet": ("ResNet50",),
    "sfnet": (
        "SFNet",
        "SFNet20",
        "SFNet64",
    ),
    "vit": (
        "ViT",
        "ViTSmall",
        "ViTTiny",
    ),
}

# What `--backbone` and the list of components name.
COMPONENTS = tuple(name for names in _HOMES.values() for name in names if name not in ("synchronize_batch_norm",))

__getattr__, __dir__ = lazy.exports(__name__, _HOMES, check_tensorflow=True)
