"""Every head × {alone, in BroadFace, with each loss} on several replicas is the same training as on one device."""

import gc
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from components import HEADS, LOSSES
from test_parallel import CLASSES, make_head, make_model, sgd

from tfface import heads, losses
from tfface.heads.own_sampler import OwnSampler

EXAMPLES, BATCH, STEPS = 31, 12, 5  # Batches of 12, 12, 7, 12, 12.
QUEUE = 60  # Longer than all examples of a run: queues side by side are then one queue.

# Arguments that a loss cannot do without.
LOSS_ARGUMENTS = {"CenterLoss": {"num_classes": CLASSES}}
# What is refused by name when built; None: of any head.
REFUSED = {(None, "ContrastiveLoss"), ("SubCenterArcFace", "HypersphericalEnergy")}


def wrapped(head, around):
    """The head inside of a wrapper: None, "BroadFace" or the name of a loss."""
    if around is None:
        return head
    if around == "BroadFace":
        return heads.BroadFace(head, queue_size=QUEUE)
    return heads.HeadWithLosses(head, [(0.5, getattr(losses, around)(**LOSS_ARGUMENTS.get(around, {})))])


def train(name, around, partition, replicas, weighted):
    """Trains; returns losses and variables in which replicas and one device must agree, by name."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(EXAMPLES, 4, 4, 3)).astype(np.float32)
    data = x, rng.integers(0, CLASSES, EXAMPLES)
    if weighted:
        data = *data, rng.uniform(0, 2, EXAMPLES).astype(np.float32)
    # Their own sampler draws by shard.
    sampled = issubclass(getattr(heads, name), OwnSampler)
    model = make_model(lambda: wrapped(make_head(name, partition, sampled, replicas), around))
    model.compile(optimizer=sgd())
    dataset = tf.data.Dataset.from_tensor_slices(data).batch(BATCH).repeat()
    history = model.fit(dataset, epochs=STEPS, steps_per_epoch=1, verbose=0)
    variables = [*model.encoder.variables, *model.head.trainable_variables, *states(model.head)]
    named = {f"{number} {variable.path}": variable.numpy() for number, variable in enumerate(variables)}
    return {"losses": np.array(history.history["loss"]) / 10, **named}


def states(head):
    """Running values such as τ and centres; queues are compared by what they do to the class weights."""
    queue = getattr(head, "queue", None)
    left_out = {id(variable) for variable in queue.variables} if queue else set()
    return [variable for variable in head.non_trainable_variables if id(variable) not in left_out]


@pytest.fixture(autouse=True)
def forgotten():
    """Two thousand networks and their graphs would take all memory."""
    yield
    keras.utils.clear_session()
    gc.collect()


_one_device = {}


def one_device(name, around, weighted):
    key = name, around, weighted
    if key not in _one_device:
        _one_device[key] = train(name, around, None, 1, weighted)
    return _one_device[key]


# Refused by name on several replicas, each with a queue: their losses compare the examples of a queue.
ONE_QUEUE = {"AdaFace", "DSoftmaxB"}

# Beside what every head does alike: the cases that have something of their own, in CI.
FAST = {
    ("ArcFace", "CenterLoss", 2, "replicas", True),
    ("DSoftmaxB", "BroadFace", 2, None, False),
    ("DSoftmaxB", None, 3, None, False),
    ("NormSoftmax", "HypersphericalEnergy", 3, "replicas", True),
    ("RandArcFace", "IntraLoss", 2, None, False),
    ("SphereFace2", "BroadFace", 2, "replicas", True),
    ("SubCenterArcFace", "InterLoss", 2, "replicas", True),
}
AROUND = [None, "BroadFace", *LOSSES]


def grid():
    for name, around, replicas, partition, weighted in itertools.product(
        HEADS, AROUND, (1, 2, 3), (None, "replicas"), (False, True)
    ):
        fast = (name, around, replicas, partition, weighted) in FAST
        marks = [] if fast else [pytest.mark.slow]
        where = {None: "mirrored", "replicas": "partitioned"}[partition]
        label = "-".join([name, around or "alone", str(replicas), where, *["weighted"] * weighted])
        yield pytest.param(name, around, replicas, partition, weighted, id=label, marks=marks)


@pytest.mark.parametrize("name, around, replicas, partition, weighted", list(grid()))
def test_replicas_are_one_device(name, around, replicas, partition, weighted, mirrored):
    if (name, around) in REFUSED or (None, around) in REFUSED:
        with pytest.raises(ValueError, match=around):
            wrapped(make_head(name, None, False, 1), around)
        return
    if around == "BroadFace" and name in ONE_QUEUE and replicas > 1:
        with pytest.raises(ValueError, match=f"{name}.* needs one replica"), mirrored(replicas).scope():
            train(name, around, partition, replicas, weighted)
        return
    expected = one_device(name, around, weighted)
    with mirrored(replicas).scope():
        got = train(name, around, partition, replicas, weighted)
    for (key, ours), theirs in zip(got.items(), expected.values(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5, err_msg=key)
