"""A first layer for networks of grey images."""

import keras
from keras import ops

# Luma of ITU-R BT.601, which image libraries use; they add up to 1, so grey stays what it is.
_WEIGHTS = (0.299, 0.587, 0.114)


@keras.saving.register_keras_serializable("tfface")
class Greyscale(keras.layers.Layer):
    """Turns colour images into grey ones, as the first layer of a network of one channel.

    Input pipelines, exports and servers hand RGB images to every network, and the files behind them may be grey. So a
    network whose first layer this is works everywhere:
    `keras.Model(inputs, network(Greyscale()(inputs)))` with `inputs = keras.Input((112, 112, 3))`.
    """

    def call(self, images):
        """Returns the luma of images [B, height, width, 3] as [B, height, width, 1], in the same range."""
        return ops.sum(images * ops.convert_to_tensor(_WEIGHTS, images.dtype), axis=-1, keepdims=True)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 1)
