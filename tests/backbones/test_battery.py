"""Every backbone: shapes, gradients, files, half precision, replicas, parity with PyTorch."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from cases import EMBEDDING_DIM, build, build_torch, images, make_torch, over_backbones, torch_embeddings

from tfface import backbones
from tfface.backbones.complexity import count_parameters
from tfface.backbones.weights import insightface

every_backbone = over_backbones()


@functools.lru_cache(maxsize=1)
def shared(name):
    """A backbone with the statistics of a batch, whose weights no test changes."""
    # Whichever tests ran before: how far half precision strays depends on the weights.
    keras.utils.set_random_seed(0)
    model = build(name)
    if not name.startswith("iresnet"):
        return model
    # Without its own statistics a deep network doubles its features in each unit, beyond what half precision can hold.
    # Those of embeddings stay: centred, embeddings of noise, which are all alike, would be mostly rounding errors.
    normalisations = [
        layer
        for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization) and len(layer.output.shape) == 4
    ]
    for layer in normalisations:
        layer.momentum, layer.usual = 0.0, layer.momentum
    model(images(), training=True)
    for layer in normalisations:
        layer.momentum = layer.usual
    return model


def gradients(model, batch):
    """Embeddings of a training step and the gradients of a sum that is not blind to any of them."""
    with tf.GradientTape() as tape:
        embeddings = model(batch, training=True)
        loss = tf.reduce_sum(tf.square(embeddings + 1.0) * np.cos(np.arange(EMBEDDING_DIM)))
    return embeddings, tape.gradient(loss, model.trainable_variables)


@every_backbone
def test_any_image_size_gives_embeddings(name):
    model = build(name, image_size=(61, 72))
    assert model.input_shape == (None, 61, 72, 3)
    assert model(np.zeros((2, 61, 72, 3))).shape == (2, EMBEDDING_DIM)


@every_backbone
def test_as_many_weights_as_in_pytorch(name):
    torch = pytest.importorskip("torch")
    with torch.device("meta"):  # Shapes alone.
        network = make_torch(name)
    trainable = sum(weight.numel() for weight in network.parameters() if weight.requires_grad)
    statistics = sum(array.numel() for key, array in network.state_dict().items() if "running_" in key)
    model = shared(name)
    assert count_parameters(model) == trainable
    assert sum(np.prod(weight.shape) for weight in model.non_trainable_weights) == statistics


@every_backbone
def test_gradient_reaches_every_weight(name):
    model = shared(name)
    for weight, gradient in zip(model.trainable_variables, gradients(model, images())[1], strict=True):
        assert gradient is not None and np.any(gradient), weight.path


@over_backbones(slow=("resnet50",))
def test_save_and_load(name, tmp_path):
    model = shared(name)
    model.save(tmp_path / "encoder.keras")
    again = keras.models.load_model(tmp_path / "encoder.keras")
    np.testing.assert_array_equal(model(images()), again(images()))


@pytest.fixture
def policy():
    """Function that sets Keras' dtype policy until the test ends."""
    before = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(before)


@over_backbones(slow=("resnet50",))
def test_bfloat16_trains_and_agrees_with_float32(name, policy):
    model = shared(name)
    policy("mixed_bfloat16")
    half = build(name)
    half.set_weights(model.get_weights())
    assert any(layer.compute_dtype == "bfloat16" for layer in half.layers if isinstance(layer, keras.layers.Conv2D))
    ours, theirs = half(images()), model(images())
    assert ours.dtype == tf.float32
    assert cosines(ours, theirs).min() > 0.99
    embeddings, of_weights = gradients(half, images())
    assert embeddings.dtype == tf.float32
    assert all(gradient.dtype == tf.float32 and np.all(np.isfinite(gradient)) for gradient in of_weights)


@over_backbones(slow=("resnet50",))
def test_float16_embeds_like_float32(name, policy):
    model = shared(name)
    policy("mixed_float16")
    half = build(name)
    half.set_weights(model.get_weights())
    assert cosines(half(images()), model(images())).min() > 0.999


def cosines(a, b):
    return np.asarray(keras.losses.cosine_similarity(a, b)) * -1


@over_backbones(slow=("insightface_mobilefacenet", "iresnet", "iresnet_se", "mobilefacenet", "resnet50"))
def test_two_replicas_with_synchronised_statistics_equal_one_device(name, mirrored, policy):
    # In float64, because gradients through the statistics of four images magnify rounding.
    policy("float64")
    batch = images().astype(np.float64)
    one = build(name)
    strategy = mirrored(2)
    with strategy.scope():
        two = build(name)
    two.set_weights(one.get_weights())
    backbones.synchronize_batch_norm(two)

    @tf.function
    def step(batch):
        def of_replica(batch):
            embeddings, of_weights = gradients(two, batch)
            return embeddings, tf.distribute.get_replica_context().all_reduce("sum", of_weights)

        return strategy.run(of_replica, args=(batch,))

    halves = strategy.experimental_distribute_values_from_function(
        lambda replica: tf.constant(np.split(batch, 2)[replica.replica_id_in_sync_group])
    )
    embeddings, of_weights = step(halves)
    expected, expected_of_weights = gradients(one, batch)
    together = np.concatenate(strategy.experimental_local_results(embeddings))
    np.testing.assert_allclose(together, expected, rtol=1e-7, atol=1e-9)
    for variable, ours, theirs in zip(one.trainable_variables, of_weights, expected_of_weights, strict=True):
        ours = strategy.experimental_local_results(ours)[0]
        assert np.linalg.norm(ours - theirs) <= 1e-6 * np.linalg.norm(theirs) + 1e-9, variable.path
    for ours, theirs in zip(two.non_trainable_variables, one.non_trainable_variables, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-7, atol=1e-9, err_msg=theirs.path)


@every_backbone
def test_embeddings_equal_those_of_pytorch(name, policy):
    network = build_torch(name)
    batch = images()
    if name == "resnet50":
        # In float32 PyTorch's own embeddings are 3e-5 from those it computes in float64.
        policy("float64")
        network, batch = network.double(), batch.astype(np.float64)
    state = {key: value.numpy() for key, value in network.state_dict().items()}
    model = build(name)
    if name == "resnet50":
        assign_by_name(model, state)
    else:
        insightface.from_state_dict(model, state)
    expected = torch_embeddings(network, batch)
    difference = np.abs(model(batch) - expected).max()
    assert difference <= 1e-4
    assert difference <= 1e-5 * np.abs(expected).max()


def assign_by_name(model, state):
    """Weights of ResNet-50, whose layers have the same names on both sides."""
    for layer in model.layers:
        if layer.weights:
            keys = ["weight", "bias"]
            if isinstance(layer, keras.layers.BatchNormalization):
                keys += ["running_mean", "running_var"]
            weight, *others = (state[f"{layer.name}.{key}"] for key in keys)
            weight = weight.transpose(2, 3, 1, 0) if weight.ndim == 4 else weight.T
            layer.set_weights([weight, *others])


@every_backbone
def test_values_out_of_range_are_named(name):
    with pytest.raises(ValueError, match="at least 56 .* got 55"):
        build(name, image_size=55)
    with pytest.raises(ValueError, match="got 0"):
        build(name, embedding_dim=0)


def test_options_out_of_range_are_named():
    with pytest.raises(ValueError, match="got -1"):
        backbones.MobileFaceNet(16, 56, width=-1)
    with pytest.raises(ValueError, match="got 1.0"):
        backbones.IResNet18(16, 56, dropout=1.0)
    with pytest.raises(ValueError, match="got 'tanh'"):
        backbones.SFNet20(16, 56, activation="tanh")
    with pytest.raises(ValueError, match="got 60"):
        backbones.ViT(60, 1, 16, 56)
    with pytest.raises(ValueError, match="got 1"):
        backbones.ViT(64, 1, 16, 56, drop_path=1)
