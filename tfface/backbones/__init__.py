"""Networks that map aligned faces to embeddings."""

from tfface.backbones.mobilefacenet import MobileFaceNet
from tfface.backbones.sfnet import SFNet20

__all__ = ["MobileFaceNet", "SFNet20"]
