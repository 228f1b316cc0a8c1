"""Alignment, against the linear system, singular values and Pillow's affine warp; NumPy against the graph."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfface.data.images import alignment
from tfface.data.synthetic.rendering import render_face


def random_landmarks(rng, scale=1.0):
    """Landmarks of a face in a photograph: rotated, shifted, and not exactly like the reference."""
    angle, size = rng.uniform(-1, 1), scale * rng.uniform(0.5, 3)
    turn = size * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return alignment.reference_landmarks() @ turn.T + rng.uniform(0, 100, 2) + rng.normal(0, 3 * size, (5, 2))


def by_linear_system(points, targets):
    """The four parameters of x' = a x - b y + c, y' = b x + a y + d as one system of equations."""
    rows, values = [], []
    for (x, y), target in zip(points, targets, strict=True):
        if np.isfinite([x, y]).all():
            rows += [[x, -y, 1, 0], [y, x, 0, 1]]
            values += list(target)
    a, b, c, d = np.linalg.lstsq(np.array(rows), np.array(values), rcond=None)[0]
    return np.array([[a, -b, c], [b, a, d]])


def by_singular_values(points, targets):
    """Umeyama's solution, which forbids the reflection explicitly."""
    p, q = points - points.mean(axis=0), targets - targets.mean(axis=0)
    u, s, vt = np.linalg.svd(q.T @ p)
    sign = np.diag([1, np.sign(np.linalg.det(u @ vt))])
    turn = np.trace(np.diag(s) @ sign) / (p * p).sum() * u @ sign @ vt
    return np.column_stack([turn, targets.mean(axis=0) - turn @ points.mean(axis=0)])


@pytest.fixture(scope="module")
def photograph():
    """A smooth colour picture, for which resampling is well defined, with a hard edge."""
    field = np.random.default_rng(1).integers(0, 256, (9, 12, 3), np.uint8)
    pixels = np.asarray(Image.fromarray(field).resize((260, 180), Image.Resampling.BICUBIC)).copy()
    pixels[60:90, 100:140] = 255
    return pixels


@pytest.mark.parametrize("size", [112, (112, 96)])
@pytest.mark.parametrize("missing", [[], [1], [1, 4], [0, 2, 3]])
def test_fit_solves_the_linear_system(size, missing):
    rng = np.random.default_rng(len(missing))
    targets = alignment.reference_landmarks(size)
    for _ in range(50):
        points = random_landmarks(rng)
        points[missing, rng.integers(0, 2)] = np.nan
        matrix = alignment.similarity_transform(points, targets)
        np.testing.assert_allclose(matrix, by_linear_system(points, targets), rtol=1e-9, atol=1e-9)
        if not missing:
            np.testing.assert_allclose(matrix, by_singular_values(points, targets), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("known", [2, 3, 5])
def test_an_exact_similarity_is_recovered(known):
    rng = np.random.default_rng(known)
    for _ in range(50):
        angle, size, shift = rng.uniform(-np.pi, np.pi), rng.uniform(0.01, 100), rng.uniform(-1e3, 1e3, 2)
        turn = size * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        points = rng.uniform(0, 200, (known, 2))
        expected = np.column_stack([turn, shift])
        matrix = alignment.similarity_transform(points, alignment.transform_points(expected, points))
        np.testing.assert_allclose(matrix, expected, atol=1e-9 * size * 1e4)


def test_a_mirrored_face_is_not_mirrored_back():
    points = alignment.reference_landmarks() * [-1, 1]
    matrix = alignment.similarity_transform(points, alignment.reference_landmarks())
    assert np.linalg.det(matrix[:, :2]) > 0
    np.testing.assert_allclose(matrix, by_singular_values(points, alignment.reference_landmarks()), atol=1e-9)


def test_reference_of_both_sizes_is_one_face():
    wide, narrow = alignment.reference_landmarks(112), alignment.reference_landmarks((112, 96))
    np.testing.assert_allclose(wide[:, 0] - 8, narrow[:, 0])
    np.testing.assert_array_equal(wide[:, 1], narrow[:, 1])
    np.testing.assert_allclose(narrow[0], [30.2946, 51.6963])
    # The points lie about the centre line of the picture.
    np.testing.assert_allclose((wide[0] + wide[1])[0] / 2, 56, atol=0.1)
    with pytest.raises(ValueError, match="aligned to 112 x 112 or .* got 224"):
        alignment.reference_landmarks(224)


@pytest.mark.parametrize("size", [112, (112, 96)])
def test_warp_agrees_with_pillow(photograph, size):
    rng = np.random.default_rng(2)
    for _ in range(5):
        points = random_landmarks(rng)
        matrix = alignment.similarity_transform(points, alignment.reference_landmarks(size))
        turn = np.linalg.inv(matrix[:, :2])
        # Pillow's coordinates have their origin at the corner of the first pixel, ours at its centre.
        shift = -turn @ matrix[:, 2] + 0.5 - turn @ [0.5, 0.5]
        coefficients = np.column_stack([turn, shift]).ravel()
        aligned = alignment.align(photograph, points, size)
        shape = aligned.shape[1::-1]
        reference = Image.fromarray(photograph).transform(
            shape, Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR
        )
        inside = Image.fromarray(np.full_like(photograph, 255)).transform(
            shape, Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR
        )
        # At the border Pillow repeats the last pixel where we fade to black.
        core = alignment.align(np.full_like(photograph, 255), points, size) == 255
        core &= np.asarray(inside) == 255
        assert core.mean() > 0.2
        difference = np.abs(aligned.astype(int) - np.asarray(reference).astype(int))[core]
        assert difference.max() <= 1


def test_graph_and_numpy_agree_within_one_grey_level(photograph):
    rng = np.random.default_rng(3)
    for size in (112, (112, 96)):
        graph = tf.function(lambda image, points, size=size: alignment.align_image(image, points, size))
        for case in range(20):
            points = random_landmarks(rng)
            points[rng.permutation(5)[: case % 4]] = np.nan
            expected = alignment.align(photograph, points, size)
            for align in (alignment.align_image, graph):
                args = (size,) if align is alignment.align_image else ()
                difference = align(photograph, points.astype(np.float32), *args).numpy().astype(int) - expected
                assert np.abs(difference).max() <= 1


def test_outside_is_black_and_fades_over_one_pixel():
    white = np.full((50, 50, 3), 255, np.uint8)
    points = alignment.reference_landmarks() + [0.0, -80.5]  # The rows of the result start 80.5 rows above the picture.
    for aligned in (alignment.align(white, points), alignment.align_image(white, points).numpy()):
        assert (aligned[:80] == 0).all() and (aligned[:, 50:] == 0).all()
        assert np.isin(aligned[80, :50], (127, 128)).all() and (aligned[81:, :50] == 255).all()


def test_an_aligned_face_stays_as_it_is():
    image, _ = render_face(0, 0, 0)
    points = alignment.reference_landmarks()
    np.testing.assert_array_equal(alignment.align(image, points), image)
    np.testing.assert_array_equal(alignment.align_image(image, points), image)


def test_a_turned_photograph_gives_the_same_face():
    image, landmarks = render_face(0, 1, 0, size=200)
    quarter = np.rot90(image)  # x, y -> y, 199 - x
    turned = np.stack([landmarks[:, 1], 199 - landmarks[:, 0]], axis=1)
    difference = alignment.align(quarter, turned).astype(int) - alignment.align(image, landmarks)
    assert np.abs(difference).max() <= 1  # Another order of four products rounds differently.


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_encoded_images_are_taken_too_and_shapes_are_static(photograph, format):
    buffer = io.BytesIO()
    Image.fromarray(photograph).save(buffer, format)
    decoded = np.asarray(Image.open(io.BytesIO(buffer.getvalue())))
    points = random_landmarks(np.random.default_rng(4))
    graph = tf.function(lambda image, points: alignment.align_image(image, points, (112, 96)))
    specification = tf.TensorSpec([], tf.string), tf.TensorSpec([5, 2], tf.float32)
    assert graph.get_concrete_function(*specification).structured_outputs.shape == (112, 96, 3)
    difference = graph(buffer.getvalue(), points).numpy().astype(int) - alignment.align(decoded, points, (112, 96))
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize(
    "points",
    [
        np.full((5, 2), np.nan),
        np.where(np.arange(5)[:, None] == 2, 7.0, np.nan) * np.ones((1, 2)),
        np.full((5, 2), 3.0),
        np.full((5, 2), np.inf),
    ],
)
def test_landmarks_that_fix_no_transform_are_refused(photograph, points):
    with pytest.raises(ValueError, match="two different landmarks are needed .* got"):
        alignment.align(photograph, points)
    with pytest.raises(tf.errors.InvalidArgumentError, match="fix no similarity transform"):
        alignment.align_image(photograph, points)


def test_absurd_landmarks_do_no_harm(photograph):
    for factor in (1e-6, 1e12):
        points = alignment.reference_landmarks() * factor
        assert alignment.align(photograph, points).shape == (112, 112, 3)
        assert alignment.align_image(photograph, points).shape == (112, 112, 3)
