"""Gradients of the parts of a batch add up to those of the whole."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfface
from tfface import heads
from tfface.training.micro_batches import split_batch

CLASSES = 11
RNG = np.random.default_rng(0)
IMAGES, LABELS = RNG.normal(size=(31, 6)).astype(np.float32), RNG.integers(0, CLASSES, 31)
WEIGHTS = RNG.uniform(0, 2, 31).astype(np.float32)


def small_encoder():
    dense = keras.layers.Dense(5, kernel_regularizer=keras.regularizers.L2(0.1))
    return keras.Sequential([keras.Input((6,)), dense])


def trained(head, micro_batches, optimizer=None, sample_weight=None):
    """Weights and losses of a network without batch normalisation, after batches of 12, 12 and 7, twice."""
    keras.utils.set_random_seed(0)
    model = tfface.FaceModel(small_encoder(), head(), micro_batches=micro_batches)
    model.compile(optimizer=optimizer or keras.optimizers.SGD(0.05, momentum=0.9, global_clipnorm=1.0))
    history = model.fit(IMAGES, LABELS, sample_weight=sample_weight, batch_size=12, epochs=2, shuffle=False, verbose=0)
    return [np.array(history.history["loss"]), *(variable.numpy() for variable in model.trainable_variables)]


@pytest.mark.parametrize("micro_batches", [2, 3, 7])
@pytest.mark.parametrize(
    "head",
    [
        lambda: heads.ArcFace(CLASSES, scale=8.0),
        lambda: heads.SphereFace2(CLASSES),
        lambda: heads.RandArcFace(CLASSES, scale=8.0, sampling_rate=1.0),
    ],
    ids=["arcface", "sphereface2", "rows"],
)
def test_parts_train_as_the_whole(head, micro_batches):
    for ours, theirs in zip(trained(head, micro_batches), trained(head, 1), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-6)


def test_weights_of_examples_stay_with_them():
    ours, theirs = (trained(lambda: heads.CosFace(CLASSES, scale=8.0), parts, None, WEIGHTS) for parts in (4, 1))
    for our, their in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(our, their, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("partition", [None, "replicas"])
def test_parts_on_replicas_train_as_the_whole_on_one_device(partition, mirrored):
    def head():
        return heads.ArcFace(CLASSES, scale=8.0, partition=partition)

    expected = trained(head, 1)
    with mirrored(2).scope():
        parallel = trained(head, 3)
    for ours, theirs in zip(parallel, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-6)


def test_each_part_passes_through_the_head_by_itself():
    sizes = []

    class Spy(heads.ArcFace):
        def losses(self, embeddings, *args):
            sizes.append(embeddings.shape[0])
            return super().losses(embeddings, *args)

    model = tfface.FaceModel(small_encoder(), Spy(CLASSES), micro_batches=4)
    model.compile(optimizer="sgd", run_eagerly=True)
    model.train_on_batch(IMAGES[:14], LABELS[:14])
    assert sizes == [3, 4, 3, 4]


def test_a_part_waits_for_the_gradients_of_the_one_before():
    model = tfface.FaceModel(small_encoder(), heads.ArcFace(CLASSES), micro_batches=2)
    model.compile(optimizer="sgd")
    step = tf.function(model.train_step).get_concrete_function((tf.constant(IMAGES[:8]), tf.constant(LABELS[:8])))
    products = [op for op in step.graph.get_operations() if op.type == "MatMul" and op.inputs[0].shape == [4, 6]]
    first, second = (op for op in products if op.outputs[0].shape == [4, 5])
    waiting, found = [second], set()
    while waiting:
        op = waiting.pop()
        if op not in found:
            found.add(op)
            waiting += [*(tensor.op for tensor in op.inputs), *op.control_inputs]
    assert first in found


def test_more_parts_than_examples():
    with pytest.raises(ValueError, match="batch of 12 examples cannot be divided into 13"):
        split_batch((tf.constant(IMAGES[:12]), None), 13)
    with pytest.raises(ValueError, match="micro_batches .* got 0"):
        trained(lambda: heads.ArcFace(CLASSES), 0)
