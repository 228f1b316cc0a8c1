"""The network that sees an image and its mirror image, as evaluation with `flip=True` does."""

import keras


def with_mirror(encoder):
    """Makes a network whose embedding is the sum of the unit embeddings of an image and its mirror image.

    Normalised, as every export normalises, it is what `embed_dataset(flip=True)` gives.

    Args:
      encoder: keras.Model from images [N, H, W, 3] to embeddings [N, D], with H and W fixed.

    Returns:
      keras.Model of the same form, in float32; its weights are those of the encoder.
    """

    def unit(image):
        return keras.ops.normalize(keras.ops.cast(encoder(image), "float32"), axis=-1, epsilon=1e-12)

    image = keras.Input(encoder.input_shape[1:])
    return keras.Model(image, unit(image) + unit(keras.ops.flip(image, axis=2)))
