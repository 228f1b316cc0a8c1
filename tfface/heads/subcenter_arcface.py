"""Sub-center ArcFace: several weights per class; the nearest one counts."""

import keras

from tfface.heads.arcface import ArcFace


@keras.saving.register_keras_serializable("tfface")
class SubCenterArcFace(ArcFace):
    """ArcFace with C sub-centers per class, so that noisy images gather at a sub-center of their own.

    The cosine of a class is the largest of its C cosines; gradients reach the nearest sub-center only.

    Args:
      num_classes: int, identities K.
      scale: float, s.
      margin: float, m, radians.
      sub_centers: int, C, at least 1.
      **kwargs: of `ArcFace`.

    Raises:
      ValueError: `sub_centers` is smaller than 1, or what `ArcFace` refuses.

    Reference:
      Deng et al., "Sub-center ArcFace: Boosting Face Recognition by Large-Scale Noisy Web Faces", 2020, Eq. 3.
    """

    def __init__(self, num_classes: int, scale: float = 64.0, margin: float = 0.5, sub_centers: int = 3, **kwargs):
        super().__init__(num_classes, scale, margin, **kwargs)
        if int(sub_centers) != sub_centers or sub_centers < 1:
            raise ValueError(f"sub_centers must be a positive integer, got {sub_centers!r}.")
        self.sub_centers = int(sub_centers)

    def get_config(self):
        return {**super().get_config(), "sub_centers": self.sub_centers}
