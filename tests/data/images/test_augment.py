"""Augmentations: laws, and agreement with Pillow or NumPy."""

import importlib
import io

import augment_release_0_1 as release_0_1
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance

from tfface.data.images import augment
from tfface.data.images.augment.base import Augmentation
from tfface.data.images.augment.base import augment as apply_all
from tfface.data.images.augment.color import adjust_color
from tfface.data.images.augment.geometry import move
from tfface.data.images.augment.quality import rescale


@pytest.fixture(scope="module")
def face(picture):
    """Smooth image of 48 x 40 as 8-bit values, in every channel between 40 and 215."""
    values = np.asarray(Image.open(io.BytesIO(picture(3, size=(48, 40)))), np.float32)
    return np.uint8(np.round(40 + values * 175 / 255))


def unit(values):
    return tf.constant((np.float32(values) - 127.5) / 127.5)


def seeds(first, count):
    return tf.stack([tf.fill([count], np.int64(first)), tf.range(count, dtype=tf.int64)], axis=1)


def eight_bit(image):
    return np.asarray(image) * 127.5 + 127.5


@pytest.mark.parametrize("name", augment.AUGMENTATIONS)
def test_same_in_and_out_of_a_graph_and_within_the_range(face, name):
    function = getattr(augment, name)().change
    inside = tf.function(function, input_signature=[tf.TensorSpec([48, 40, 3]), tf.TensorSpec([2], tf.int64)])
    results = []
    for seed in seeds(7, 20):
        result = function(unit(face), seed)
        np.testing.assert_allclose(inside(unit(face), seed), result, atol=1e-6)
        results.append(np.asarray(result))
        assert result.shape == (48, 40, 3) and result.dtype == tf.float32
        assert results[-1].min() >= -1 and results[-1].max() <= 1
    assert inside.get_concrete_function().structured_outputs.shape == (48, 40, 3)
    assert name == "Mirror" or len({result.tobytes() for result in results}) > 10


def test_mirror_is_that_of_numpy(face):
    np.testing.assert_array_equal(augment.Mirror(1)(unit(face), [0, 0]), unit(face[:, ::-1]))


@pytest.mark.parametrize(
    ("place", "enhance"), [(0, ImageEnhance.Brightness), (1, ImageEnhance.Contrast), (2, ImageEnhance.Color)]
)
@pytest.mark.parametrize("factor", [0.5, 0.8, 1.0, 1.5])
def test_color_is_that_of_pillow(face, place, enhance, factor):
    factors = [1.0, 1.0, 1.0]
    factors[place] = factor
    expected = np.asarray(enhance(Image.fromarray(face)).enhance(factor), np.float32)
    # Pillow rounds the grey and truncates the result to integers.
    np.testing.assert_allclose(eight_bit(adjust_color(unit(face), *factors)), expected, atol=1.6)


@pytest.mark.parametrize("ratio", [0.2, 0.5, 0.77, 1.0])
def test_rescaling_is_that_of_pillow(face, ratio):
    small = Image.fromarray(face).resize((round(40 * ratio), round(48 * ratio)), Image.Resampling.BILINEAR)
    expected = np.asarray(small.resize((40, 48), Image.Resampling.BILINEAR), np.float32)
    # Pillow rounds four times: after rows and after columns, down and up.
    np.testing.assert_allclose(eight_bit(rescale(unit(face), ratio)), expected, atol=2)


@pytest.mark.parametrize(
    ("degrees", "scale", "down", "right"), [(20, 1, 0, 0), (0, 1.25, 0, 0), (0, 1, 0.25, -0.1), (-15, 0.8, 0.05, 0.1)]
)
def test_moves_are_those_of_pillow(face, degrees, scale, down, right):
    height, width = face.shape[:2]
    centre = np.array([width, height]) / 2
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[cosine, sine], [-sine, cosine]]) / scale
    offset = centre - turn @ (centre + [right * width, down * height])
    way = np.c_[turn, offset].ravel().tolist()
    expected = Image.fromarray(face).transform((width, height), Image.Transform.AFFINE, way, Image.Resampling.BILINEAR)
    inside = Image.new("L", (width, height), 255).transform((width, height), Image.Transform.AFFINE, way)
    # Pillow repeats no border, and draws black up to half a pixel inside.
    inside = np.asarray(inside.point(lambda value: value == 255)) > 0
    inside[1:-1, 1:-1] &= inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]
    got = eight_bit(move(unit(face), np.float32(np.radians(degrees)), scale, down, right))
    np.testing.assert_allclose(got[inside], np.asarray(expected, np.float32)[inside], atol=1.5)
    assert inside.mean() > 0.5 and got.min() >= face.min() - 1e-3  # no black outside


def test_affine_moves_within_its_limits():
    rows, columns = np.meshgrid(np.linspace(-0.5, 0.5, 65), np.linspace(-0.5, 0.5, 65), indexing="ij")
    ramp = tf.constant(np.stack([rows, columns, 0 * rows], axis=-1), tf.float32)
    affine, found = augment.Affine(1, rotation=30, scale=0.2, shift=0.1), []
    for seed in seeds(0, 300):
        change = np.asarray(affine(ramp, seed))
        middle, right = change[32, 32, :2], change[32, 33, :2]
        down, across = (right - middle) * 64  # of one pixel to the right, in the source
        found.append([np.degrees(np.arctan2(-down, across)), 1 / np.hypot(down, across)])
    angle, factor = np.transpose(found)
    assert -30 <= angle.min() < -28 and 28 < angle.max() <= 30
    assert 0.8 - 1e-4 <= factor.min() < 0.82 and 1.18 < factor.max() <= 1.2 + 1e-4
    only_shift = augment.Affine(1, rotation=0, scale=0, shift=0.1)
    shifts = np.array([only_shift(ramp, seed)[32, 32, :2] for seed in seeds(1, 200)]) * 64 / 65
    assert (shifts.min(axis=0) >= -0.1 - 1e-4).all() and (shifts.max(axis=0) <= 0.1 + 1e-4).all()
    assert (shifts.min(axis=0) < -0.095).all() and (shifts.max(axis=0) > 0.095).all()


def changed_rectangle(before, after):
    """Returns (top, left, height, width) of the pixels that differ, after a check that they fill a rectangle."""
    changed = (np.asarray(before) != np.asarray(after)).all(axis=-1)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    top, left, height, width = rows[0], columns[0], np.ptp(rows) + 1, np.ptp(columns) + 1
    expected = np.zeros_like(changed)
    expected[top : top + height, left : left + width] = True
    np.testing.assert_array_equal(changed, expected)
    return top, left, height, width


@pytest.mark.parametrize(
    ("augmentation", "background", "areas", "aspect"),
    [
        (augment.Erase(1), 0.0, (0.02, 0.33), 10 / 3),
        (augment.Crop(1), -1.0, (0.2, 1.0), 4 / 3),
        (augment.Crop(1, smallest=0.4, largest=0.6, aspect=1.2), -1.0, (0.4, 0.6), 1.2),
    ],
)
def test_rectangles_have_the_stated_areas_and_shapes_everywhere(face, augmentation, background, areas, aspect):
    image = unit(face)
    uniform = tf.fill(image.shape, np.float32(background))
    function = tf.function(augmentation)
    erases = isinstance(augmentation, augment.Erase)
    found = []
    for seed in seeds(3, 400):
        result = function(image, seed)
        if erases:
            found.append(changed_rectangle(image, result))
        else:
            found.append(changed_rectangle(uniform, result))
        top, left, height, width = found[-1]
        inside = np.zeros((48, 40, 1), bool)
        inside[top : top + height, left : left + width] = True
        np.testing.assert_array_equal(result, np.where(inside == erases, uniform, image))
    top, left, height, width = np.transpose(found)
    share = height * width / (48 * 40)
    rounding = (height + width) / (48 * 40)
    assert (share >= areas[0] - rounding).all() and (share <= areas[1] + rounding).all()
    assert abs(share.mean() - np.mean(areas)) < 0.05 * areas[1]
    free = (height < 48) & (width < 40)  # The others were clipped at the border of the image.
    relative = (height / 48) / (width / 40)
    assert (np.abs(np.log(relative[free])) < np.log(aspect) + 0.5 / height[free] + 0.5 / width[free]).all()
    assert abs(np.log(relative).mean()) < 0.1
    for start, size, side in ((top, height, 48), (left, width, 40)):
        assert start.min() == 0 and (start + size).max() == side
        room = size < side
        assert abs((start[room] / (side - size[room])).mean() - 0.5) < 0.06  # uniform: four standard errors


def test_jpeg_is_that_of_pillow_at_some_quality_of_the_range(face):
    def compressed(quality):
        buffer = io.BytesIO()
        Image.fromarray(face).save(buffer, "JPEG", quality=quality)
        return np.asarray(Image.open(buffer), np.float32)

    jpeg = augment.Jpeg(1)
    known = {compressed(quality).tobytes(): quality for quality in range(20, 96)}
    found = [known[np.round(eight_bit(jpeg(unit(face), seed))).tobytes()] for seed in seeds(5, 60)]
    assert min(found) < 30 and max(found) > 85


def test_qualities_can_be_chosen(face):
    buffer = io.BytesIO()
    Image.fromarray(face).save(buffer, "JPEG", quality=40)
    got = augment.Jpeg(1, lowest_quality=40, highest_quality=40)(unit(face), seeds(0, 1)[0])
    np.testing.assert_array_equal(np.round(eight_bit(got)), np.asarray(Image.open(buffer), np.float32))


def test_strength_of_color_bounds_the_factors(face):
    grey = tf.fill([4, 4, 3], -0.5)  # A quarter of white: only the brightness changes it.
    found = np.array([augment.Color(1, strength=0.2)(grey, seed)[0, 0, 0] for seed in seeds(0, 200)])
    factors = (found + 1) / 0.5
    assert 0.8 <= factors.min() < 0.82 and 1.18 < factors.max() <= 1.2
    np.testing.assert_allclose(augment.Color(1, strength=0)(unit(face), [0, 0]), unit(face), atol=1e-6)


def test_random_crop_cuts_out_the_rectangle_that_crop_leaves(face):
    limits = {"smallest": 0.3, "largest": 0.5}
    for seed in seeds(4, 20):
        mask = augment.Crop(1, **limits)(tf.ones([48, 40, 3]), seed)
        top, left, height, width = changed_rectangle(tf.fill([48, 40, 3], -1.0), mask)
        part = Image.fromarray(face[top : top + height, left : left + width])
        expected = np.asarray(part.resize((40, 48), Image.Resampling.BILINEAR), np.float32)
        # Pillow rounds after rows and after columns.
        result = augment.RandomCrop(1, **limits)(unit(face), seed)
        np.testing.assert_allclose(eight_bit(result), expected, atol=1.01)


def test_random_crop_of_everything_changes_nothing(face):
    result = augment.RandomCrop(1, smallest=1.0, aspect=1)(unit(face), [0, 3])
    np.testing.assert_allclose(result, unit(face), atol=1e-6)


def test_each_augmentation_has_its_probability(face):
    augmentations = [augment.Mirror(probability=0.3), augment.Erase()]

    @tf.function
    def which(seed):
        image = unit(face)
        mirrored, erased = (tf.reduce_any(apply_all(image, seed, [each]) != image) for each in augmentations)
        both = apply_all(image, seed, augmentations)
        return mirrored, erased, tf.reduce_any(both != image)

    drawn = np.array([which(seed) for seed in seeds(0, 1000)])
    # Binomial, four standard deviations.
    for share, probability in zip(drawn.mean(axis=0), (0.3, 0.2, 0.44), strict=True):
        assert abs(share - probability) < 4 * (probability * (1 - probability) / 1000) ** 0.5


@pytest.mark.parametrize("name", list(release_0_1.FUNCTIONS))
def test_defaults_are_the_functions_of_release_0_1_bit_for_bit(face, name):
    (now,) = augment.as_augmentations([f"{name}:0.7"])

    @tf.function
    def both(image, seed):
        old = release_0_1.augment(image, seed, [(release_0_1.FUNCTIONS[name], 0.7)])
        return old, apply_all(image, seed, [now])

    old, new = map(np.array, zip(*(both(unit(face), seed) for seed in seeds(11, 40)), strict=True))
    np.testing.assert_array_equal(new, old)
    assert 15 < (new != np.asarray(unit(face))).any(axis=(1, 2, 3)).sum() < 40


def test_strings_are_shortcuts_of_objects():
    crop = augment.Crop(0.5, smallest=0.6)
    expected = [augment.Color(), augment.LowResolution(0.3), crop, augment.Mirror(0), augment.RandomCrop(1)]
    values = ["color", "low_resolution:0.3", crop, "mirror:0", "random_crop:1"]
    assert augment.as_augmentations(values) == expected
    assert repr(expected[0]) == "Color(probability=0.2, strength=0.5)"


def test_every_augmentation_is_named():
    modules = [vars(importlib.import_module(f"{augment.__name__}.{name}")) for name in ("color", "geometry", "quality")]
    found = {name for module in modules for name, value in module.items() if is_augmentation(value)}
    assert found == {*augment.AUGMENTATIONS}


def is_augmentation(value):
    public = isinstance(value, type) and issubclass(value, Augmentation) and not value.__name__.startswith("_")
    return public and value is not Augmentation


@pytest.mark.parametrize("text", ["blur", "", ":0.5", "color:", "color:x", "color:1.1", "color:-0.1", "color:nan"])
def test_unknown_augmentation_is_refused(text):
    with pytest.raises(ValueError, match=f"augmentation.* got '{text}'"):
        augment.as_augmentations(["mirror", text])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("Mirror", {"probability": 1.5}, "probability must be in .*, got 1.5"),
        ("Color", {"probability": float("nan")}, "probability must be in .*, got nan"),
        ("Color", {"strength": 1.1}, "strength must be in .*, got 1.1"),
        ("Crop", {"smallest": 0.0}, "got smallest=0.0, largest=1.0"),
        ("Erase", {"smallest": 0.5}, "got smallest=0.5, largest=0.33"),
        ("RandomCrop", {"aspect": 0.5}, "aspect .* at least 1, got 0.5"),
        ("LowResolution", {"smallest": 2.0}, "got smallest=2.0"),
        ("Jpeg", {"lowest_quality": 0}, "got lowest_quality=0, highest_quality=95"),
        ("Jpeg", {"lowest_quality": 60, "highest_quality": 50}, "got lowest_quality=60, highest_quality=50"),
    ],
)
def test_arguments_out_of_range_are_named(name, options, message):
    with pytest.raises(ValueError, match=message):
        getattr(augment, name)(**options)
