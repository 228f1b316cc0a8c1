"""The pose of a synthetic head: where its parts fall in the aligned crop."""

import math
from types import SimpleNamespace
from typing import TypeAlias

import numpy as np

from tfface.data.synthetic.canvas import REFERENCE_SIZE, Frame

# Parameters of a person and of one image, as `scene.person` and `scene.shot_of` draw them.
Person: TypeAlias = SimpleNamespace
Shot: TypeAlias = SimpleNamespace

# Left eye, right eye, nose tip, left and right mouth corner (of the image) in a 112 x 112 crop, as x + iy.
_REFERENCE = np.array([38.3 + 51.7j, 73.5 + 51.5j, 56.0 + 71.7j, 41.5 + 92.4j, 70.7 + 92.2j])


class Pose:
    """Projection of a turned head into the aligned crop.

    The crop follows a face pipeline: the similarity transform that brings the five landmarks closest to the reference,
    then a small detection error.
    """

    def __init__(self, who: Person, shot: Shot, size: int):
        self._who = who
        cos, sin = math.cos(shot.yaw), math.sin(shot.yaw)
        cos_pitch, sin_pitch = math.cos(shot.pitch), math.sin(shot.pitch)
        # Rows: x and y of the image, from x, y, z of the head turned by the yaw, then by the pitch.
        self._project = np.array([[cos, 0, sin], [sin_pitch * sin, cos_pitch, -sin_pitch * cos]])
        self._crop = Frame(np.zeros(2), np.eye(2))
        points = self._landmarks(shot) @ [1, 1j]
        centred, target = points - points.mean(), _REFERENCE - _REFERENCE.mean()
        scale = np.vdot(centred, target) / np.vdot(centred, centred).real
        scale *= shot.zoom * np.exp(1j * shot.roll)
        origin = _REFERENCE.mean() - scale * points.mean() + shot.shift
        # Pixel centres keep their relative position in the crop at any size.
        ratio = size / REFERENCE_SIZE
        scale, origin = scale * ratio, (origin + 0.5 + 0.5j) * ratio - (0.5 + 0.5j)
        turn = np.array([[scale.real, -scale.imag], [scale.imag, scale.real]])
        self._crop = Frame(np.array([origin.real, origin.imag]), turn)
        self.landmarks = self._landmarks(shot)
        self.head, self.sine_yaw = self._crop, sin
        self.head_width = math.hypot(who.head_width * cos, who.depth * sin)

    def _landmarks(self, shot):
        who = self._who
        self.nose = self.at(0, who.nose_y, depth=who.nose_depth)
        self.mouth = self.at(0, who.mouth_y)
        self.mouth_half = who.mouth_width * (1 + 0.04 * shot.smile - 0.015 * shot.jaw)
        eyes = [self.at(side * who.eye_x, who.eye_y).origin for side in (-1, 1)]
        corners = [self.mouth.to_image(side * self.mouth_half, -shot.smile) for side in (-1, 1)]
        return np.array([*eyes, self.nose.origin, *corners])

    def at(self, x: float, y: float, depth: float = 0.0) -> Frame:
        """Returns the frame on the skin at (x, y) of the frontal face, lifted off the skin by `depth`."""
        who = self._who
        height = self._height(y)
        z = self._surface(x, y)
        slope_x, slope_y = -((who.depth / who.head_width) ** 2) * x / z, -((who.depth / height) ** 2) * y / z
        tangents = self._project @ np.array([[1, 0], [0, 1], [slope_x, slope_y]])
        return Frame(self._crop.to_image(*self.head_point(x, y, depth)), self._crop.matrix @ tangents)

    def head_point(self, x: float, y: float, depth: float = 0.0) -> np.ndarray:
        """Returns the origin of the frame `at(x, y, depth)`, in the axes of `head`."""
        return self._project @ [x, y, self._surface(x, y) + depth]

    def _height(self, y):
        # The lower half of the face stays flat further down than an ellipsoid through the chin.
        return self._who.crown if y < 0 else 1.5 * self._who.chin

    def _surface(self, x, y):
        return self._who.depth * math.sqrt(max(1 - (x / self._who.head_width) ** 2 - (y / self._height(y)) ** 2, 0.15))
