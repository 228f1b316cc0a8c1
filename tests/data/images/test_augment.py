"""Augmentations: laws, and agreement with Pillow or NumPy."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance

from tfface.data.images import augment


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


@pytest.mark.parametrize("name", sorted(augment.AUGMENTATIONS))
def test_same_in_and_out_of_a_graph_and_within_the_range(face, name):
    function = augment.AUGMENTATIONS[name]
    inside = tf.function(function, input_signature=[tf.TensorSpec([48, 40, 3]), tf.TensorSpec([2], tf.int64)])
    results = []
    for seed in seeds(7, 20):
        result = function(unit(face), seed)
        np.testing.assert_allclose(inside(unit(face), seed), result, atol=1e-6)
        results.append(np.asarray(result))
        assert result.shape == (48, 40, 3) and result.dtype == tf.float32
        assert results[-1].min() >= -1 and results[-1].max() <= 1
    assert inside.get_concrete_function().structured_outputs.shape == (48, 40, 3)
    assert name == "mirror" or len({result.tobytes() for result in results}) > 10


def test_mirror_is_that_of_numpy(face):
    np.testing.assert_array_equal(augment.mirror(unit(face), [0, 0]), unit(face[:, ::-1]))


@pytest.mark.parametrize(
    ("place", "enhance"), [(0, ImageEnhance.Brightness), (1, ImageEnhance.Contrast), (2, ImageEnhance.Color)]
)
@pytest.mark.parametrize("factor", [0.5, 0.8, 1.0, 1.5])
def test_color_is_that_of_pillow(face, place, enhance, factor):
    factors = [1.0, 1.0, 1.0]
    factors[place] = factor
    expected = np.asarray(enhance(Image.fromarray(face)).enhance(factor), np.float32)
    # Pillow rounds the grey and truncates the result to integers.
    np.testing.assert_allclose(eight_bit(augment.adjust_color(unit(face), *factors)), expected, atol=1.6)


@pytest.mark.parametrize("ratio", [0.2, 0.5, 0.77, 1.0])
def test_rescaling_is_that_of_pillow(face, ratio):
    small = Image.fromarray(face).resize((round(40 * ratio), round(48 * ratio)), Image.Resampling.BILINEAR)
    expected = np.asarray(small.resize((40, 48), Image.Resampling.BILINEAR), np.float32)
    # Pillow rounds four times: after rows and after columns, down and up.
    np.testing.assert_allclose(eight_bit(augment.rescale(unit(face), ratio)), expected, atol=2)


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
    ("name", "background", "areas", "aspect"),
    [("erase", 0.0, (0.02, 0.33), 10 / 3), ("crop", -1.0, (0.2, 1.0), 4 / 3)],
)
def test_rectangles_have_the_stated_areas_and_shapes_everywhere(face, name, background, areas, aspect):
    image = unit(face)
    uniform = tf.fill(image.shape, np.float32(background))
    function = tf.function(augment.AUGMENTATIONS[name])
    found = []
    for seed in seeds(3, 400):
        result = function(image, seed)
        if name == "erase":
            found.append(changed_rectangle(image, result))
        else:
            found.append(changed_rectangle(uniform, result))
        top, left, height, width = found[-1]
        inside = np.zeros((48, 40, 1), bool)
        inside[top : top + height, left : left + width] = True
        np.testing.assert_array_equal(result, np.where(inside == (name == "erase"), uniform, image))
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

    known = {compressed(quality).tobytes(): quality for quality in range(20, 96)}
    found = [known[np.round(eight_bit(augment.jpeg(unit(face), seed))).tobytes()] for seed in seeds(5, 60)]
    assert min(found) < 30 and max(found) > 85


def test_each_augmentation_has_its_probability(face):
    augmentations = augment.parse_augmentations(["mirror:0.3", "erase", "mirror:0", "color:1"])
    assert [probability for _, probability in augmentations] == [0.3, 0.2, 0.0, 1.0]

    @tf.function
    def which(seed):
        image = unit(face)
        mirrored, erased = (
            tf.reduce_any(augment.augment(image, seed, [(function, probability)]) != image)
            for function, probability in augmentations[:2]
        )
        both = augment.augment(image, seed, augmentations[:2])
        return mirrored, erased, tf.reduce_any(both != image)

    drawn = np.array([which(seed) for seed in seeds(0, 1000)])
    # Binomial, four standard deviations.
    for share, probability in zip(drawn.mean(axis=0), (0.3, 0.2, 0.44), strict=True):
        assert abs(share - probability) < 4 * (probability * (1 - probability) / 1000) ** 0.5


@pytest.mark.parametrize("text", ["blur", "", ":0.5", "color:", "color:x", "color:1.1", "color:-0.1", "color:nan"])
def test_unknown_augmentation_is_refused(text):
    with pytest.raises(ValueError, match=f"augmentation.* got '{text}'"):
        augment.parse_augmentations(["mirror", text])
