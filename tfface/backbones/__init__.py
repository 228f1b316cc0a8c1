"""Networks that map aligned faces to embeddings."""

from tfface import lazy

_HOMES = {
    "activations": (),
    "batch_norm": (),
    "complexity": (),
    "weights": (),
    "greyscale": ("Greyscale",),
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
    "prelu": (),
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

# Layers of these files.
SERIALIZABLE = {
    "batch_norm": ("FusedBatchNormalization",),
    "greyscale": ("Greyscale",),
    "prelu": ("FusedPReLU",),
    "vit": ("PositionEmbedding", "SelfAttention"),
}

_LAYERS = ("greyscale", "layers")

# What `--backbone` and the list of components name.
COMPONENTS = tuple(name for module, names in _HOMES.items() if module not in _LAYERS for name in names)

__getattr__, __dir__ = lazy.exports(__name__, _HOMES, check_tensorflow=True)
