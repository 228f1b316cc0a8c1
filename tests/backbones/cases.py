"""Every backbone, small in its input and its embedding, beside the same network in PyTorch."""

import numpy as np
import pytest

from tfface import backbones

IMAGE_SIZE, EMBEDDING_DIM = 56, 16
PIXELS, TOKENS = 4 * 4, 6 * 6  # Size of the features before the fully connected layer.

# name: (builder, its options, network of tests/backbones/torch_networks.py, its options)
_FAST = {
    "sfnet20": ("SFNet20", {}, "SFNet", {"units": (1, 2, 4, 1)}),
    "iresnet": ("IResNet", {"units": (1, 2, 1, 1), "dropout": 0}, "IResNet", {"units": (1, 2, 1, 1)}),
    "iresnet_se": (
        "IResNet",
        {"units": (1, 2, 1, 1), "dropout": 0, "squeeze_excite": True},
        "IResNet",
        {"units": (1, 2, 1, 1), "squeeze_excite": True},
    ),
    "mobilefacenet": ("MobileFaceNet", {}, "MobileFaceNet", {}),
    "insightface_mobilefacenet": ("InsightFaceMobileFaceNet", {}, "MobileFaceNet", {"scale": 2}),
    "resnet50": ("ResNet50", {}, "ResNet50", {}),
    "vit": ("ViT", {"width": 64, "depth": 2, "drop_path": 0}, "ViT", {"width": 64, "depth": 2}),
}
_SLOW = {
    "sfnet20_batch_norm": ("SFNet20", {"with_batch_norm": True}, "SFNet", {"units": (1, 2, 4, 1), "batch_norm": True}),
    "sfnet64": ("SFNet64", {}, "SFNet", {"units": (3, 8, 16, 3)}),
    "iresnet18": ("IResNet18", {"dropout": 0}, "IResNet", {"units": (2, 2, 2, 2)}),
    "iresnet34": ("IResNet34", {"dropout": 0}, "IResNet", {"units": (3, 4, 6, 3)}),
    "iresnet50": ("IResNet50", {"dropout": 0}, "IResNet", {"units": (3, 4, 14, 3)}),
    "iresnet100": ("IResNet100", {"dropout": 0}, "IResNet", {"units": (3, 13, 30, 3)}),
    "iresnet200": ("IResNet200", {"dropout": 0}, "IResNet", {"units": (6, 26, 60, 6)}),
    "vit_tiny": ("ViTTiny", {"drop_path": 0}, "ViT", {"width": 256, "depth": 12}),
    "vit_small": ("ViTSmall", {"drop_path": 0}, "ViT", {"width": 512, "depth": 12}),
}
_ALL = _FAST | _SLOW


def over_backbones(slow=()):
    """Parametrises a test over the names of all backbones; those in `slow` are slow in this test too."""
    marks = {name: [pytest.mark.slow] if name in _SLOW or name in slow else [] for name in _ALL}
    return pytest.mark.parametrize("name", [pytest.param(name, marks=mark) for name, mark in marks.items()])


def build(name, image_size=IMAGE_SIZE, embedding_dim=EMBEDDING_DIM):
    """Builds the backbone in Keras."""
    builder, options, _, _ = _ALL[name]
    return getattr(backbones, builder)(embedding_dim=embedding_dim, image_size=image_size, **options)


def make_torch(name):
    """Makes the network in PyTorch."""
    import torch_networks

    _, _, network, options = _ALL[name]
    size = {"ViT": {"tokens": TOKENS}, "ResNet50": {}}.get(network, {"final_pixels": PIXELS})
    return getattr(torch_networks, network)(embedding_dim=EMBEDDING_DIM, **size, **options)


def build_torch(name):
    """Builds the network in PyTorch, with random weights and the statistics of random images; without torch, skips."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model = make_torch(name)
    for module in model.modules():
        if isinstance(module, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d, torch.nn.LayerNorm)):
            if module.weight.requires_grad:
                torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.2)
            module.momentum = 1.0
        elif isinstance(module, torch.nn.PReLU):
            torch.nn.init.uniform_(module.weight, 0.0, 0.5)
    with torch.no_grad():
        model.train()(torch.rand(4, 3, IMAGE_SIZE, IMAGE_SIZE) * 2 - 1)
    return model.eval()


def images():
    """Four random images [4, height, width, 3] in [-1, 1]."""
    return np.random.default_rng(0).uniform(-1, 1, (4, IMAGE_SIZE, IMAGE_SIZE, 3)).astype(np.float32)


def torch_embeddings(network, batch):
    """Embeddings of a network in PyTorch, for images [N, height, width, 3]."""
    import torch

    with torch.no_grad():
        return network(torch.from_numpy(batch.transpose(0, 3, 1, 2))).numpy()
