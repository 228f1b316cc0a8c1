"""Samples of classes: what they hold, how often, and how they repeat."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfface.classifier.samplers.uniform import UniformSampler

LABELS = tf.constant([7, 3, 7, 99])


def draw(seed, rate=0.2, num_classes=100, **options):
    return UniformSampler(rate, **options)(LABELS, num_classes, tf.stack([seed, seed + 1]))


def test_every_class_stands_in_one_place_at_most_and_the_batch_is_there():
    for seed in range(50):
        sample = draw(seed)
        classes = sample.classes.numpy()
        real = classes[classes >= 0]
        assert len(np.unique(real)) == len(real)
        assert {3, 7, 99} <= set(real)
        assert classes.shape == (24,)
        np.testing.assert_array_equal(sample.rows.numpy()[classes >= 0], real)
        np.testing.assert_array_equal(sample.counts, classes >= 0)
        assert sample.rows.numpy().min() >= 0 and sample.rows.numpy().max() < 100


def test_classes_of_the_batch_are_excluded_where_asked():
    sample = draw(0, batch_classes="excluded")
    counted = sample.classes.numpy()[sample.counts.numpy()]
    assert not {3, 7, 99} & set(counted)
    assert {3, 7, 99} <= set(sample.classes.numpy())


def test_all_classes_come_up_equally_often():
    counts, rows = np.zeros(100), tf.function(lambda seed: draw(seed).rows[:20])
    for seed in tf.range(2000):
        counts[rows(seed)] += 1
    # 400 expected of each; six deviations of a binomial draw.
    assert np.abs(counts - 400).max() < 6 * np.sqrt(2000 * 0.2 * 0.8)


def test_a_seed_repeats_and_another_differs():
    np.testing.assert_array_equal(draw(1).rows, draw(1).rows)
    assert np.any(draw(1).rows != draw(2).rows)


def test_rate_of_1_is_all_classes():
    sample = draw(0, rate=1.0)
    assert sorted(sample.classes.numpy()[sample.classes.numpy() >= 0]) == list(range(100))


def test_in_a_graph_and_saved():
    graph = tf.function(lambda labels, seed: UniformSampler(0.2)(labels, 100, seed))
    np.testing.assert_array_equal(graph(LABELS, tf.constant([5, 6])).rows, draw(5).rows)
    again = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(UniformSampler(0.3, batch_classes="excluded"))
    )
    assert again.get_config() == {"rate": 0.3, "batch_classes": "excluded"}


@pytest.mark.parametrize("rate", [0, 1.5, -0.1, float("nan")])
def test_impossible_rates_are_named(rate):
    with pytest.raises(ValueError, match=f"got {rate}"):
        UniformSampler(rate)
