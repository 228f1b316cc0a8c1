"""Face alignment: the similarity transform that brings five landmarks nearest to their reference positions.

Points are x, y in pixels, where (0, 0) is the centre of the first pixel. Their order is left eye, right eye, nose tip,
left and right mouth corner; left is the left of the image. Pixels are sampled bilinearly without smoothing, and are
black outside the photograph. Published sets of aligned faces are made in this way, and training and serving must agree.
"""

import numpy as np
import tensorflow as tf

from tfface.data.images.decoding import ImageSize, decode_pixels, size_pair

_ARCFACE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)


def reference_landmarks(image_size: ImageSize = 112) -> np.ndarray:
    """Returns the reference positions of the five landmarks.

    Args:
      image_size: 112 or (112, 112) for those of InsightFace and ArcFace; (112, 96) for those of SphereFace and CosFace,
        which crop 8 columns from either side.

    Returns:
      float64 [5, 2], x and y in pixels.

    Raises:
      ValueError: for another size.
    """
    size = size_pair(image_size)
    if size not in ((112, 112), (112, 96)):
        raise ValueError(f"faces are aligned to 112 x 112 or (112, 96), got {image_size!r}.")
    return _ARCFACE - [(112 - size[1]) / 2, 0]


def similarity_transform(points: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Fits rotation, uniform scale and translation by least squares; reflections are excluded.

    In the plane this is a linear problem; its solution equals that of Umeyama (PAMI 1991) by singular values.

    Args:
      points: float [P, 2], x and y; a point with a coordinate that is not finite is ignored.
      targets: float [P, 2], target positions of the points.

    Returns:
      float64 [2, 3], the matrix for (x, y, 1) that minimises the sum of squared distances to the targets.

    Raises:
      ValueError: if fewer than two different points are known, or no rotation fits better than another.
    """
    points, targets = np.asarray(points, np.float64), np.asarray(targets, np.float64)
    known = np.isfinite(points).all(axis=1)
    centre, target = (values[known].mean(axis=0) if known.any() else 0 for values in (points, targets))
    p, q = points[known] - centre, targets[known] - target
    spread = np.sum(p * p)
    if spread == 0:
        raise ValueError(f"two different landmarks are needed to align a face, got {points.tolist()}.")
    cosine = np.sum(p * q) / spread
    sine = np.sum(p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]) / spread
    if cosine == sine == 0:
        raise ValueError(f"no rotation aligns the landmarks {points.tolist()}.")
    turn = np.array([[cosine, -sine], [sine, cosine]])
    return np.column_stack([turn, target - turn @ centre])


def transform_points(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Applies a matrix [2, 3] of `similarity_transform` to points [P, 2]; NaN stays NaN."""
    return np.asarray(points, np.float64) @ matrix[:, :2].T + matrix[:, 2]


def align(pixels: np.ndarray, landmarks: np.ndarray, image_size: ImageSize = 112) -> np.ndarray:
    """Crops an aligned face from a photograph, in NumPy.

    Args:
      pixels: uint8 [H, W, 3].
      landmarks: float [5, 2], in pixels; NaN if unknown.
      image_size: size of the result, 112 or (112, 96).

    Returns:
      uint8 [height, width, 3].

    Raises:
      ValueError: if the landmarks do not determine a transform, or for another size.
    """
    x, y = _sampled_places(landmarks, image_size)
    # Everything outside is black, so one pixel of it is enough; huge coordinates would overflow as integers.
    x, y = np.clip(x, -1, pixels.shape[1]), np.clip(y, -1, pixels.shape[0])
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    right, low = (x - left)[..., None], (y - top)[..., None]

    def pixel(x, y):
        inside = (x >= 0) & (x < pixels.shape[1]) & (y >= 0) & (y < pixels.shape[0])
        return pixels[np.where(inside, y, 0), np.where(inside, x, 0)] * inside[..., None]

    upper = (1 - right) * pixel(left, top) + right * pixel(left + 1, top)
    lower = (1 - right) * pixel(left, top + 1) + right * pixel(left + 1, top + 1)
    return np.rint((1 - low) * upper + low * lower).astype(np.uint8)


def share_outside(landmarks: np.ndarray, size: tuple[int, int], image_size: ImageSize = 112) -> float:
    """Returns the share of an aligned face's pixels that lie outside of the photograph, where `align` gives black.

    Args:
      landmarks: float [5, 2], in pixels; NaN if unknown.
      size: (H, W) of the photograph.
      image_size: size of the aligned face, 112 or (112, 96).

    Raises:
      ValueError: if the landmarks do not determine a transform, or for another size.
    """
    x, y = _sampled_places(landmarks, image_size)
    return float(np.mean((x < -0.5) | (x > size[1] - 0.5) | (y < -0.5) | (y > size[0] - 0.5)))


def _sampled_places(landmarks, image_size):
    """Returns x and y, [height, width], of the places in the photograph that an aligned face samples."""
    height, width = size_pair(image_size)
    matrix = similarity_transform(landmarks, reference_landmarks(image_size))
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1)
    return np.moveaxis((grid - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T, -1, 0)


def align_image(image: tf.Tensor, landmarks: tf.Tensor, image_size: ImageSize = 112) -> tf.Tensor:
    """Crops an aligned face from a photograph, as a graph function; agrees with `align`.

    Args:
      image: string [], the bytes of a JPEG or PNG file, whose EXIF orientation is applied, or uint8 [H, W, 3].
      landmarks: float [5, 2], in pixels of the upright photograph; NaN if unknown.
      image_size: size of the result, 112 or (112, 96).

    Returns:
      uint8 [height, width, 3].

    Raises:
      ValueError: for another size.
      tf.errors.InvalidArgumentError: when run, if the landmarks do not determine a transform.
    """
    height, width = size_pair(image_size)
    image = tf.convert_to_tensor(image)
    if image.dtype == tf.string:
        image = decode_pixels(image, upright=True)
    aligned = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(image, tf.float32)[None],
        transforms=_sampling_transform(landmarks, reference_landmarks(image_size)),
        output_shape=[height, width],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
    return tf.ensure_shape(tf.cast(tf.round(aligned[0]), tf.uint8), [height, width, 3])


def _sampling_transform(landmarks, targets):
    """Returns the inverse of `similarity_transform`, which maps aligned pixels to the photograph: float32 [1, 8]."""
    points, targets = tf.cast(landmarks, tf.float64), tf.constant(targets, tf.float64)
    known = tf.reduce_all(tf.math.is_finite(points), axis=1)
    points, targets = tf.boolean_mask(points, known), tf.boolean_mask(targets, known)
    centre, target = tf.reduce_mean(points, axis=0), tf.reduce_mean(targets, axis=0)
    p, q = points - centre, targets - target
    spread = tf.reduce_sum(p * p)
    # The inverse has the cosine and sine of the fit divided by its squared scale, (cosine² + sine²) / spread².
    cosine = tf.reduce_sum(p * q)
    sine = tf.reduce_sum(p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0])
    strength = cosine * cosine + sine * sine
    message = "the landmarks fix no similarity transform"
    with tf.control_dependencies([tf.debugging.Assert(tf.logical_and(spread > 0, strength > 0), [message])]):
        cosine, sine = cosine * spread / strength, sine * spread / strength
    x = centre[0] - cosine * target[0] - sine * target[1]
    y = centre[1] + sine * target[0] - cosine * target[1]
    zero = tf.zeros_like(x)
    return tf.cast(tf.stack([cosine, sine, x, -sine, cosine, y, zero, zero])[None], tf.float32)
