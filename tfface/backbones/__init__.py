"""Networks that map aligned faces to embeddings."""

from tfface import needs_tensorflow  # noqa: F401
from tfface.backbones.iresnet import IResNet, IResNet18, IResNet34, IResNet50, IResNet100, IResNet200
from tfface.backbones.layers import synchronize_batch_norm
from tfface.backbones.mobilefacenet import InsightFaceMobileFaceNet, MobileFaceNet
from tfface.backbones.resnet import ResNet50
from tfface.backbones.sfnet import SFNet, SFNet20, SFNet64
from tfface.backbones.vit import ViT, ViTSmall, ViTTiny

__all__ = [
    "IResNet",
    "IResNet18",
    "IResNet34",
    "IResNet50",
    "IResNet100",
    "IResNet200",
    "InsightFaceMobileFaceNet",
    "MobileFaceNet",
    "ResNet50",
    "SFNet",
    "SFNet20",
    "SFNet64",
    "ViT",
    "ViTSmall",
    "ViTTiny",
    "synchronize_batch_norm",
]
