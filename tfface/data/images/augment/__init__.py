"""Augmentation of training images in the graph: pure functions of image and seed.

An augmentation is an object such as `Color(probability=0.3, strength=0.4)`; `AUGMENTATIONS` names all of them. AdaFace
trains with `Color()`, `Crop()` and `LowResolution()`.

References: Kim et al., "AdaFace", CVPR 2022, section 4.1; Zhong et al., "Random Erasing Data Augmentation", AAAI 2020.
"""

from tfface import lazy

AUGMENTATIONS = ("Affine", "Color", "Crop", "Erase", "Jpeg", "LowResolution", "Mirror", "RandomCrop")

__getattr__, __dir__ = lazy.exports(
    __name__,
    {
        "base": ("Augmentation",),
        "color": ("Color",),
        "geometry": ("Affine", "Crop", "Erase", "Mirror", "RandomCrop"),
        "quality": ("Jpeg", "LowResolution"),
        "shortcuts": ("as_augmentations",),
    },
    check_tensorflow=True,
)
