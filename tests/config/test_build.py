"""Networks, heads and optimizers are what the settings say."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfface
from tfface import heads
from tfface.config.build import build_encoder, build_optimizer, load_encoder
from tfface.config.train_config import TrainConfig
from tfface.config.train_flags import FLAGFILE, write_flagfile
from tfface.optimizers.kinds import weights_of_kinds
from tfface.training.checkpoints.saving import Checkpoints
from tfface.training.checkpoints.warm_start import warm_start

RNG = np.random.default_rng(0)
IMAGES, LABELS = RNG.uniform(-1, 1, (8, 56, 56, 3)).astype(np.float32), RNG.integers(0, 5, 8)


def settings(**options):
    defaults = {
        "backbone": "MobileFaceNet(width=0.25)",
        "image_size": 56,
        "embedding_dim": 16,
        "run_dir": "run",
        "train_data": "x",
    }
    return TrainConfig(**defaults | options)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_precision_is_that_of_the_network_alone(precision):
    encoder = build_encoder(settings(precision=precision))
    convolutions = [layer for layer in encoder.layers if isinstance(layer, keras.layers.Conv2D)]
    assert {layer.compute_dtype for layer in convolutions} == {precision.removeprefix("mixed_")}
    assert encoder(IMAGES).dtype == tf.float32
    assert keras.config.dtype_policy().name == "float32"


def test_run_folder_is_loaded_in_float32(tmp_path):
    run = settings(run_dir=str(tmp_path), precision="mixed_bfloat16", ema=0.9)
    write_flagfile(run, tmp_path / FLAGFILE)
    model = tfface.FaceModel(build_encoder(run), heads.ArcFace(5), ema_momentum=run.ema)
    model.compile(optimizer="sgd")
    model.train_on_batch(IMAGES, LABELS)
    Checkpoints(tmp_path / "checkpoints", model).save(1)
    encoder = load_encoder(tmp_path)
    assert {layer.compute_dtype for layer in encoder.layers} == {"float32"}
    for ours, theirs in zip(encoder.get_weights(), model.ema_encoder.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_frozen_layers_stay_and_others_move():
    encoder = build_encoder(settings(freeze=[r"layers\.[01]\..*", "conv_sep.*"]))
    model = tfface.FaceModel(encoder, heads.ArcFace(5))
    model.compile(optimizer=keras.optimizers.SGD(0.1))
    before = {weight.path: weight.numpy() for weight in encoder.weights}
    model.train_on_batch(IMAGES, LABELS)
    for weight in encoder.weights:
        name = weight.path.split("/")[-2]
        frozen = name.startswith(("layers.0.", "layers.1.", "conv_sep"))
        assert np.array_equal(weight.numpy(), before[weight.path]) == frozen, weight.path


def test_freezing_changes_no_name_in_checkpoints(tmp_path):
    free, frozen = (tfface.FaceModel(build_encoder(settings(freeze=f)), heads.ArcFace(5)) for f in ([], [".*"]))
    for model in (free, frozen):
        model.compile(optimizer="sgd")
        model.optimizer.build(model.trainable_variables)
    Checkpoints(tmp_path, free).save(1)
    assert len(frozen.trainable_variables) == 1
    assert Checkpoints(tmp_path, frozen).restore() == 1
    for ours, theirs in zip(frozen.encoder.weights, free.encoder.weights, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy(), err_msg=ours.path)


@pytest.mark.parametrize(
    "pattern, message", [("layer9", "no layer is named 'layer9'"), ("(", "not a valid regular expression")]
)
def test_freezing_what_is_not_there(pattern, message):
    with pytest.raises(ValueError, match=message):
        build_encoder(settings(freeze=[pattern]))


@pytest.mark.parametrize("ending", [".keras", ""])
def test_network_of_a_file_under_a_fresh_head(ending, tmp_path):
    pretrained = build_encoder(settings())
    path = tmp_path / f"source{ending}"
    if ending:
        pretrained.save(path)
    else:
        old = tfface.FaceModel(pretrained, heads.ArcFace(2))
        old.compile(optimizer="sgd")
        old.optimizer.build(old.trainable_variables)
        Checkpoints(path / "checkpoints", old).save(1)
    model = tfface.FaceModel(build_encoder(settings()), heads.CosFace(5), ema_momentum=0.9)
    fresh = model.head.get_class_weights()
    warm_start(model, ["a"] * 5, path, with_head=False)
    for encoder in (model.encoder, model.ema_encoder):
        for ours, theirs in zip(encoder.get_weights(), pretrained.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(model.head.get_class_weights(), fresh)


def test_file_of_another_network_is_refused(tmp_path):
    build_encoder(settings(backbone="MobileFaceNet(width=0.5)")).save(tmp_path / "other.keras")
    (tmp_path / "noise.keras").write_bytes(b"PK\x03\x04 and no more")
    model = tfface.FaceModel(build_encoder(settings()), heads.ArcFace(5))
    with pytest.raises(
        ValueError, match=r"other.keras: its network is another: .*kernel has shape \(3, 3, 3, 32\), not"
    ):
        warm_start(model, ["a"] * 5, tmp_path / "other.keras")
    with pytest.raises(ValueError, match="noise.keras: not a zip archive"):
        warm_start(model, ["a"] * 5, tmp_path / "noise.keras")
    with pytest.raises(ValueError, match="absent.keras: no such file"):
        warm_start(model, ["a"] * 5, tmp_path / "absent.keras")


@pytest.mark.parametrize("kinds", [(), ("norm",), ("prelu", "bias"), ("norm", "prelu", "bias")])
@pytest.mark.parametrize("backbone", ["MobileFaceNet(width=0.25)", "IResNet18", "ViTTiny"])
def test_excluded_weights_do_not_decay(backbone, kinds):
    """Without gradients, weights that decay shrink and the others stay."""
    run = settings(
        backbone=backbone, optimizer="SGD(decay_form='constant')", weight_decay=0.5, exclude_from_decay=kinds
    )
    encoder = build_encoder(run)
    optimizer = build_optimizer(run, keras.optimizers.schedules.ExponentialDecay(0.1, 1, 1.0), encoder)
    variables = encoder.trainable_variables
    for variable in variables:
        variable.assign(tf.ones_like(variable))
    optimizer.build(variables)
    optimizer.apply([tf.zeros_like(variable) for variable in variables], variables)
    ends = {"norm": ("gamma", "beta"), "prelu": ("alpha",), "bias": ("bias",)}
    exempt = tuple(end for kind in kinds for end in ends[kind])
    for variable in variables:
        assert np.all(variable.numpy() == (1.0 if variable.path.endswith(exempt) and exempt else 0.5)), variable.path
    assert len(weights_of_kinds(encoder, kinds)) == sum(bool(exempt) and v.path.endswith(exempt) for v in variables)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"exclude_from_decay": ["scale"]}, "exclude_from_decay .*'scale'"),
        (
            {"optimizer": "LAMB(decay_form='coupled')"},
            "LAMB has no argument 'decay_form'; its arguments are beta_1",
        ),
        ({"optimizer": "SGD(decay_form='tied')"}, "optimizer SGD: decay_form must be one of .* got 'tied'"),
        ({"precision": "float16"}, "precision must be one of .*'float16'"),
        ({"micro_batches": 0}, "micro_batches .* got 0"),
        ({"ema": 1.0}, "ema .* got 1.0"),
    ],
)
def test_settings_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        build_optimizer(settings(**options), 0.1, keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]))


@pytest.mark.parametrize("name, kind", [("SGD", "RowSGD"), ("AdamW", "AdamW"), ("LAMB", "LAMB")])
def test_optimizer_has_the_settings(name, kind):
    optimizer = build_optimizer(
        settings(optimizer=name, weight_decay=0.25, clip_norm=3.0), 0.125, build_encoder(settings())
    )
    config = optimizer.get_config()
    assert type(optimizer).__name__ == kind
    assert (config["learning_rate"], config["weight_decay"], config["global_clipnorm"]) == (0.125, 0.25, 3.0)
