"""The canvas of a synthetic face: frames of its parts, and painting in them.

Lengths are reference pixels, which are those of the 112 x 112 crop, whatever the size of the image.
"""

import math

import numpy as np
import numpy.typing as npt

REFERENCE_SIZE = 112


class Frame:
    """Affine map from the axes of one part (u right, v down, reference pixels) to pixels of the image."""

    def __init__(self, origin: np.ndarray, matrix: np.ndarray):
        self.origin, self.matrix = origin, matrix

    def to_image(self, u: float, v: float) -> np.ndarray:
        """Maps a point to pixels of the image."""
        return self.origin + self.matrix @ np.array([u, v])

    def turned(self, angle: float, flip: int = 1) -> "Frame":
        """Returns the frame with rotated axes; with `flip` -1, u points to the left of the image."""
        cos, sin = math.cos(angle), math.sin(angle)
        return Frame(self.origin, self.matrix @ np.array([[cos * flip, -sin * flip], [sin, cos]]))


class Canvas:
    """The image being painted (`rgb`, float32 [3, size, size]) and the relief of the skin, for shading.

    Its region `head` is the whole image in the frame of the centre of the head.
    """

    def __init__(self, rgb: np.ndarray, head: Frame):
        self.rgb = rgb
        self.size = rgb.shape[-1]
        self.relief = np.zeros(rgb.shape[1:], np.float32)
        self._pixels = np.arange(self.size, dtype=np.float32)
        self.head = self.everywhere(head)

    def region(self, frame: Frame, left: float, top: float, right: float, bottom: float) -> "Region":
        """Returns the pixels that may lie inside a box, given in the axes of `frame`."""
        (a, b), (c, d) = frame.matrix.tolist()
        centre_x, centre_y = frame.to_image((left + right) / 2, (top + bottom) / 2).tolist()
        half_u, half_v = (right - left) / 2, (bottom - top) / 2
        columns = self._clip(centre_x, abs(a) * half_u + abs(b) * half_v)
        rows = self._clip(centre_y, abs(c) * half_u + abs(d) * half_v)
        area = a * d - b * c
        x = self._pixels[columns] - np.float32(frame.origin[0])
        y = self._pixels[rows, None] - np.float32(frame.origin[1])
        u = x * np.float32(d / area) - y * np.float32(b / area)
        v = y * np.float32(a / area) - x * np.float32(c / area)
        return Region(self.rgb[:, rows, columns], self.relief[rows, columns], u, v, math.sqrt(abs(area)))

    def everywhere(self, frame: Frame) -> "Region":
        """Returns all pixels, with their coordinates in `frame`."""
        return self.region(frame, -300, -300, 300, 300)

    def _clip(self, centre, reach):
        start, stop = int(centre - reach - 1), int(centre + reach + 3)
        return slice(min(max(start, 0), self.size), min(max(stop, 0), self.size))


class Region:
    """Some pixels of a canvas with their coordinates `u`, `v` (float32 [height, width]) in a frame."""

    def __init__(self, rgb: np.ndarray, relief: np.ndarray, u: np.ndarray, v: np.ndarray, sharpness: float):
        self.rgb, self.relief, self.u, self.v, self.sharpness = rgb, relief, u, v, sharpness

    def inside(self, distance: np.ndarray, soft: float = 0.0) -> np.ndarray:
        """Returns the coverage in [0, 1] of a signed distance (negative inside); its edge is one pixel plus `soft`."""
        return np.clip(0.5 - distance * np.float32(1 / (1 / self.sharpness + soft)), 0, 1)

    def ellipse(self, u: float, v: float, radius_u: float, radius_v: float, soft: float = 0.0) -> np.ndarray:
        """Returns the coverage of an ellipse."""
        squared = ((self.u - u) / radius_u) ** 2 + ((self.v - v) / radius_v) ** 2
        return self.inside((np.sqrt(squared) - 1) * min(radius_u, radius_v), soft)

    def paint(self, coverage: np.ndarray, colour: npt.ArrayLike, texture: np.ndarray | float = 1) -> None:
        """Blends a colour, three numbers in [0, 1], times a texture over the pixels."""
        colour = np.asarray(colour, np.float32).reshape(3, 1, 1) * texture
        self.rgb += coverage * (colour - self.rgb)

    def tint(self, coverage: np.ndarray, factor: npt.ArrayLike) -> None:
        """Multiplies the pixels by a factor, one number per channel or a single one."""
        self.rgb *= 1 + coverage * (np.asarray(factor, np.float32).reshape(-1, 1, 1) - 1)
