"""Initial values of rows do not depend on who draws them, and are those of Keras' initializer."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfface import heads
from tfface.distribute import row_blocks
from tfface.distribute.initial_rows import initial_rows
from tfface.distribute.partitioned_variable import PartitionedVariable, class_ranges

CLASSES, DIM = 103, 7  # No multiple of the four numbers that the generator draws at once.

ALONE = {
    "normal": lambda: keras.initializers.RandomNormal(stddev=0.01, seed=3),
    "mean": lambda: keras.initializers.RandomNormal(mean=0.3, stddev=2.0, seed=2**31 + 5),
    "truncated": lambda: keras.initializers.TruncatedNormal(mean=-0.1, stddev=0.7, seed=4),
    "uniform": lambda: keras.initializers.RandomUniform(-0.3, 2.0, seed=5),
    "generator": lambda: keras.initializers.RandomNormal(seed=keras.random.SeedGenerator(6)),
    "zeros": keras.initializers.Zeros,
    "ones": keras.initializers.Ones,
    "constant": lambda: keras.initializers.Constant(0.1),
}
AT_ONCE = {
    "orthogonal": lambda: keras.initializers.Orthogonal(seed=7),
    "function": lambda: lambda shape, dtype=None: tf.reshape(tf.range(CLASSES * DIM, dtype=dtype), shape),
}


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(row_blocks, "_NUMBERS", 10 * DIM)


@pytest.mark.parametrize("make", (ALONE | AT_ONCE).values(), ids=ALONE | AT_ONCE)
@pytest.mark.parametrize("shards", [1, 2, 3, 4, 50])
def test_rows_are_those_of_the_whole(make, shards, small_blocks):
    rows = initial_rows(make(), (CLASSES, DIM), "float32")
    parts = [rows(start, stop).numpy() for start, stop in reversed(class_ranges(CLASSES, shards))]
    np.testing.assert_array_equal(np.concatenate(parts[::-1]), make()((CLASSES, DIM), dtype="float32"))


@pytest.mark.parametrize("make", ALONE.values(), ids=ALONE)
def test_rows_are_drawn_without_the_others(make, monkeypatch):
    """A whole matrix of this shape would have 2 EB."""
    initializer, shape = make(), (2**50, 512)
    assert initial_rows(initializer, shape, "float32")(2**50 - 3, 2**50).shape == (3, 512)


def test_each_call_of_a_generator_draws_others():
    initializer = keras.initializers.RandomNormal(seed=keras.random.SeedGenerator(0))
    one, other = (initial_rows(initializer, (5, 3), "float32")(0, 5).numpy() for _ in range(2))
    assert np.all(one != other)


def test_half_precision_and_integers():
    """Their groups of random numbers have other sizes, so they are drawn at once."""
    for dtype, initializer in (("float16", keras.initializers.RandomNormal(seed=1)), ("int64", ALONE["ones"]())):
        rows = initial_rows(initializer, (CLASSES, DIM), dtype)(5, 9)
        np.testing.assert_array_equal(rows, initializer((CLASSES, DIM), dtype=dtype)[5:9])


@pytest.mark.parametrize("replicas", [1, 2, 3, 4])
def test_a_partitioned_head_begins_as_a_dense_one(replicas, mirrored, small_blocks):
    def class_weights(partition):
        keras.utils.set_random_seed(2)
        head = heads.SubCenterArcFace(CLASSES, sub_centers=2, partition=partition)
        head.build((None, DIM))
        return head.get_class_weights()

    dense = class_weights(None)
    assert np.std(dense) == pytest.approx(0.01, rel=0.1)
    with mirrored(replicas).scope():
        np.testing.assert_array_equal(class_weights("replicas"), dense)


@pytest.mark.parametrize("row_shape", [(DIM,), ()])
def test_rows_of_all_replicas_are_gathered_in_blocks(row_shape, mirrored, small_blocks):
    """As workers read them; the shards have 34, 34 and 35 rows, and a block has 3 of each or, of scalars, 23."""
    values = np.random.default_rng(0).normal(size=(CLASSES, *row_shape)).astype(np.float32)
    with mirrored(3).scope():
        variable = PartitionedVariable(lambda shape, dtype=None: tf.constant(values), values.shape, CLASSES)
        gathered = np.full_like(values, np.nan)
        sizes = []
        for first, block in variable._gathered_blocks():
            gathered[first : first + len(block)] = block
            sizes.append(len(block))
    np.testing.assert_array_equal(gathered, values)
    assert max(sizes) == (3 if row_shape else 23)
    np.testing.assert_array_equal(variable.numpy(), values)
    np.testing.assert_array_equal(np.array(variable), values)
