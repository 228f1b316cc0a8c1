"""Images as tensors: decoding, alignment, augmentation and landmark detection."""

from tfface import lazy, needs_tensorflow  # noqa: F401

__getattr__, __dir__ = lazy.exports(
    __name__,
    {
        "alignment": ("align", "align_image", "reference_landmarks", "similarity_transform"),
        "decoding": ("check_image", "decode_image", "decode_pixels", "ensure_image", "upright"),
    },
)
