"""The augmentations as the functions that they were in release 0.1: what today's defaults have to give, bit for bit."""

import tensorflow as tf


def mirror(image, seed):
    return tf.reverse(image, [1])


def color(image, seed):
    def grey(image):
        return tf.reduce_sum(image * (0.299, 0.587, 0.114), axis=-1, keepdims=True)

    def scale(image, origin, factor):
        return tf.clip_by_value(origin + (image - origin) * factor, -1.0, 1.0)

    brightness, contrast, saturation = tf.unstack(tf.random.stateless_uniform([3], seed, 0.5, 1.5))
    image = scale(image, -1.0, brightness)
    image = scale(image, tf.reduce_mean(grey(image)), contrast)
    return scale(image, grey(image), saturation)


def crop(image, seed):
    return tf.where(_rectangle(image, seed, (0.2, 1.0), 4 / 3), image, -1.0)


def erase(image, seed):
    return tf.where(_rectangle(image, seed, (0.02, 0.33), 10 / 3), 0.0, image)


def low_resolution(image, seed):
    ratio = tf.random.stateless_uniform([], seed, 0.2, 1.0)
    full = tf.shape(image)[:2]
    small = tf.maximum(1, tf.cast(tf.round(ratio * tf.cast(full, tf.float32)), tf.int32))
    return tf.ensure_shape(tf.image.resize(tf.image.resize(image, small, antialias=True), full), image.shape)


def jpeg(image, seed):
    quality = tf.random.stateless_uniform([], seed, 20, 96, tf.int32)
    data = tf.raw_ops.EncodeJpegVariableQuality(
        images=tf.cast(tf.round(image * 127.5 + 127.5), tf.uint8), quality=quality
    )
    pixels = tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE")
    return (tf.cast(tf.ensure_shape(pixels, image.shape), tf.float32) - 127.5) * (1 / 127.5)


FUNCTIONS = {each.__name__: each for each in (color, crop, erase, jpeg, low_resolution, mirror)}


def augment(image, seed, augmentations):
    for number, (function, probability) in enumerate(augmentations):
        image = _sometimes(function, probability, image, tf.random.fold_in(seed, number))
    return image


def _sometimes(function, probability, image, seed):
    chance = tf.random.stateless_uniform([], seed)
    return tf.cond(chance < probability, lambda: function(image, tf.random.fold_in(seed, 0)), lambda: image)


def _rectangle(image, seed, areas, aspect):
    area, elongation, top, left = tf.unstack(
        tf.random.stateless_uniform([4], seed, [areas[0], -1.0, 0.0, 0.0], [areas[1], 1.0, 1.0, 1.0])
    )
    height, width = tf.unstack(tf.cast(tf.shape(image)[:2], tf.float32))
    elongation = tf.sqrt(aspect) ** elongation
    tall = tf.minimum(tf.round(tf.sqrt(area) * elongation * height), height)
    wide = tf.minimum(tf.round(tf.sqrt(area) / elongation * width), width)
    row = tf.range(height)[:, None, None] - tf.floor(top * (height - tall + 1))
    column = tf.range(width)[None, :, None] - tf.floor(left * (width - wide + 1))
    return (row >= 0) & (row < tall) & (column >= 0) & (column < wide)
