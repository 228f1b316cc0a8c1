"""Sizes of a plan against variables of real models, and its laws."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfface.config.build import build_encoder, build_head, build_optimizer
from tfface.config.train_config import TrainConfig
from tfface.jobs.planning.advice import advise
from tfface.jobs.planning.memory import Setup, memory_of, sent_bytes
from tfface.jobs.planning.plan import plan_training
from tfface.jobs.planning.report import fit, summary
from tfface.jobs.planning.sizes import Sizes
from tfface.training.face_model import FaceModel

DIM = 32


def settings(**changes):
    given = {"backbone": "SFNet20", "image_size": 56, "embedding_dim": DIM, "batch_size": 16, **changes}
    return TrainConfig(run_dir="unused", train_data="unused", **given)


def bytes_of(variables):
    return sum(tf.as_dtype(each.dtype).size * int(np.prod(each.shape)) for each in variables)


@pytest.fixture(scope="module")
def planned():
    return plan_training(settings(), classes=1_000_000, replicas=4, images=5_000_000)


@pytest.mark.parametrize(
    ("changes", "slots"),
    [
        ({"head": "ArcFace"}, 1),
        ({"head": "SubCenterArcFace(sub_centers=3)", "optimizer": "AdamW"}, 2),
        ({"head": "Softmax", "optimizer": "AdamW(amsgrad=True)", "ema": 0.9}, 3),
        ({"head": "BroadFace(SphereFace2, queue_size=24)", "loss": ["CenterLoss"], "optimizer": "LAMB"}, 2),
    ],
)
def test_weights_and_slots_are_those_of_the_model_with_so_many_classes(changes, slots):
    classes = 321
    config = settings(**changes)
    encoder = build_encoder(config)
    model = FaceModel(encoder, build_head(config, classes), 1, config.ema)
    model.compile(optimizer=build_optimizer(config, 0.1, encoder))
    model.optimizer.build(model.trainable_variables)
    trained = bytes_of(model.trainable_variables)
    whole = bytes_of(each for each in model.variables if "seed" not in each.path)
    made = bytes_of(each for each in model.optimizer.variables if each.name not in ("iteration", "learning_rate"))

    found = plan_training(config, classes).memory.moments["head"]
    assert found["slots"] == made == slots * trained
    # Keras' counters of seeds and of the logged loss are a few bytes.
    assert found["weights"] == pytest.approx(whole, abs=64)


def test_partitioned_rows_are_divided_by_the_replicas(planned):
    one, four = (
        memory_of(planned.sizes, dataclasses.replace(planned.setup, replicas=count, partition="replicas"))
        for count in (1, 4)
    )
    rows = 4 * 1_000_000 * DIM
    fixed = one.moments["head"]["weights"] - rows
    assert four.moments["head"]["weights"] == fixed + rows // 4
    assert one.moments["update"]["slots"] - four.moments["update"]["slots"] == 3 * rows // 4
    assert one.moments["head"]["gradients"] == 4 * four.moments["head"]["gradients"] == rows


def test_messages_are_those_of_the_table_in_the_documentation():
    # docs/parallel.md: 64 examples per replica, 512 dimensions, in MB per replica.
    sizes = Sizes(0, 0, 4 * 512, 0, 1, 0, 0, 4 * 512, 1, 0)
    for replicas, partitioned in ((8, 1.2), (64, 8.6), (512, 67.8)):
        setup = Setup(classes=1_000_000, replicas=replicas, batch_size=64 * replicas)
        assert sent_bytes(sizes, setup) == 2_048_000_000
        divided = dataclasses.replace(setup, partition="replicas", classes=29_000_000)
        assert sent_bytes(sizes, divided) / 1e6 == pytest.approx(partitioned, abs=0.05)
    assert sent_bytes(sizes, Setup(classes=1_000_000)) == 0


def test_sampling_micro_batches_and_chunks_take_less(planned):
    def peak(**changes):
        return memory_of(planned.sizes, dataclasses.replace(planned.setup, replicas=1, **changes)).moments

    whole, sampled, chunks, parts = peak(), peak(rate=0.1), peak(chunk_size=1000), peak(micro_batches=4)
    row = 4 * DIM
    assert sampled["head"]["gradients"] == row * (100_000 + 16)
    assert chunks["head"]["logits"] * 1000 == whole["head"]["logits"]
    assert parts["head"]["activations"] * 4 == whole["head"]["activations"]


def test_a_billion_classes_are_planned_without_being_made():
    found = plan_training(settings(partition="replicas"), classes=10**9, replicas=1024 // 64, images=10**11)
    assert found.memory.moments["head"]["weights"] > 4 * 10**9 * DIM // 16
    assert found.steps == round(20 * (10**11 // 16))
    assert "1,000,000,000 identities" in summary(found)[0]


def test_the_settings_that_are_named_make_it_fit(planned):
    for limit in (planned.memory.peak * 0.9, planned.memory.peak * 0.5, planned.memory.peak * 0.3):
        found = advise(planned, limit)
        assert found and all(changed.memory.peak <= limit for _, changed in found)
    assert advise(planned, planned.memory.peak) == []
    assert "does not fit" in fit(planned, 1e6)[0]


@pytest.mark.parametrize(
    ("changes", "arguments", "sentence"),
    [
        ({}, {"classes": 0}, "classes must be at least 1, got 0"),
        ({}, {"classes": 10, "replicas": 17}, "batch_size 16 cannot be divided among 17 replicas"),
        ({"partition": "replicas"}, {"classes": 10, "replicas": 16}, "10 classes cannot be divided among 16 replicas"),
        ({}, {"classes": 10, "images": 15}, "15 images do not fill one batch"),
        ({"partition": "host"}, {"classes": 10}, "needs a sampler"),
    ],
)
def test_bad_settings_end_in_a_sentence(changes, arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        plan_training(settings(**changes), **arguments)
