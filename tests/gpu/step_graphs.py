"""Graphs of training steps, of evaluation and of exports, over every component; nothing in them is computed."""

import functools
import itertools

import keras
import numpy as np
import tensorflow as tf
from components import HEADS, LOSSES

import tfface
from tfface import backbones, export, heads, losses
from tfface.backbones.batch_norm import FusedBatchNormalization
from tfface.classifier.samplers.hash_forest import HashForestSampler
from tfface.classifier.samplers.uniform import UniformSampler
from tfface.optimizers.lamb import LAMB
from tfface.optimizers.row_sgd import DECAY_FORMS, RowSGD

CLASSES, DIM, SIZE = 20, 8, 56

OPTIMIZERS = {
    **{f"RowSGD {form}": lambda form=form: RowSGD(0.1, 0.9, weight_decay=0.1, decay_form=form) for form in DECAY_FORMS},
    "LAMB": lambda: LAMB(weight_decay=0.1),
    "SGD": lambda: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    "AdamW": lambda: keras.optimizers.AdamW(weight_decay=0.1),
    "clipped": lambda: RowSGD(0.1, 0.9, global_clipnorm=1.0),
    **{name: getattr(keras.optimizers, name) for name in ("Adagrad", "Adam", "Lamb", "Lion", "Nadam", "RMSprop")},
}

LOSS_ARGUMENTS = {"CenterLoss": {"num_classes": CLASSES}}
# Refused when built; None: of any head.
REFUSED = {(None, "ContrastiveLoss"), ("SubCenterArcFace", "HypersphericalEnergy")}
# Heads whose constructor takes no sampler.
OWN_SAMPLER = ("DSoftmaxK", "RandArcFace", "RandSoftmax")


# As in Keras.
_function = functools.partial(tf.function, autograph=False)


def small_encoder():
    """The kinds of layers of the backbones, in few operations."""
    return keras.Sequential(
        [
            keras.Input((4, 4, 3)),
            keras.layers.Conv2D(4, 3, use_bias=False),
            FusedBatchNormalization(),
            keras.layers.PReLU(),
            keras.layers.Flatten(),
            keras.layers.Dense(DIM),
            FusedBatchNormalization(),
        ]
    )


def training_graph(make_head, make_optimizer=None, make_encoder=small_encoder, strategy=None, **options):
    """The graph of a training step."""
    return _step_graph("train_step", make_head, make_optimizer, make_encoder, strategy, options)


def evaluation_graph(make_head, strategy=None):
    """The graph of a step of `evaluate`."""
    return _step_graph("test_step", make_head, None, small_encoder, strategy, {})


def _step_graph(name, make_head, make_optimizer, make_encoder, strategy, options):
    strategy = strategy or tf.distribute.get_strategy()
    with strategy.scope():
        model = tfface.FaceModel(make_encoder(), make_head(), **options)
        model.compile(optimizer=(make_optimizer or OPTIMIZERS["RowSGD coupled"])())
        model.optimizer.build(model.trainable_variables)
    replicas = strategy.num_replicas_in_sync
    batch = {
        "image": np.zeros((4 * replicas, *model.encoder.input_shape[1:]), np.float32),
        "label": np.arange(4 * replicas),
    }
    dataset = tf.data.Dataset.from_tensors(batch).unbatch().batch(4 * replicas, drop_remainder=True)
    if replicas == 1:
        return _function(getattr(model, name)).get_concrete_function(next(iter(dataset))).graph
    step = _function(lambda batch: strategy.run(getattr(model, name), args=(batch,)))
    with strategy.scope():
        return step.get_concrete_function(next(iter(strategy.experimental_distribute_dataset(dataset)))).graph


def head_cases():
    """Yields (name, function that makes a head, whether on several replicas)."""
    for name, partition, (form, wrap) in itertools.product(HEADS, (None, "replicas"), FORMS.items()):
        if form in ("sampled", "forest") and name in OWN_SAMPLER:
            continue  # It is the plain form.
        if form == "in BroadFace" and partition and getattr(heads, name).compares_examples:
            continue  # Refused when built: the examples of the queue lie on all replicas.
        where = "partitioned" if partition else "one device"
        yield f"{name}, {form}, {where}", functools.partial(_head, name, form, wrap, partition), bool(partition)


def _head(name, form, wrap, partition):
    options = {"partition": partition, **({"sampling_rate": 0.3} if name in OWN_SAMPLER else {})}
    if form == "sampled":
        options["sampler"] = UniformSampler(0.3)
    if form == "forest":
        options["sampler"] = HashForestSampler(0.3, leaf_size=4)
    if form == "chunked":
        options["chunk_size"] = 8
    return wrap(getattr(heads, name)(CLASSES, **options))


def _with_losses(head):
    """All losses at once."""
    names = [loss for loss in LOSSES if not {(None, loss), (type(head).__name__, loss)} & REFUSED]
    return heads.HeadWithLosses(head, [(0.5, getattr(losses, loss)(**LOSS_ARGUMENTS.get(loss, {}))) for loss in names])


FORMS = {
    **dict.fromkeys(("plain", "sampled", "forest", "chunked"), lambda head: head),
    "in BroadFace": lambda head: heads.BroadFace(head, queue_size=16),
    "with losses": _with_losses,
}


# Arguments of backbones that need some, with what the named ones of their family lack.
_ARGUMENTS = {
    "IResNet": {"units": (1, 1, 1, 1), "squeeze_excite": True},
    "SFNet": {"units": (1, 1, 1, 1), "with_batch_norm": True},
    "ViT": {"width": 64, "depth": 1},
}


def backbone(name, policy, frozen=lambda number: False):
    """Returns a function that makes a backbone under a dtype policy; `frozen` says by their number which layers are."""

    def make():
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(policy)
        try:
            encoder = getattr(backbones, name)(embedding_dim=DIM, image_size=SIZE, **_ARGUMENTS.get(name, {}))
        finally:
            keras.config.set_dtype_policy(before)
        for number, layer in enumerate(encoder.layers):
            layer.trainable = not frozen(number)
        return encoder

    return make


def export_graphs():
    """Yields (name, graph) of embedding and of every signature of an export."""
    encoder = backbone("MobileFaceNet", "float32")()
    images = tf.TensorSpec([None, SIZE, SIZE, 3], tf.float32)
    embed = export.encoder_embedder(encoder)
    yield "embedding", tf.function(embed._embed).get_concrete_function(images).graph
    for name, (function, inputs) in export.signatures.signatures(encoder, flip=True, threshold=0.3).items():
        yield name, tf.function(function).get_concrete_function(*inputs).graph
