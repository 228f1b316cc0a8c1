"""Every argument of every component can be set from a flag; a wrong one gets a sentence with the right ones."""

import inspect

import numpy as np
import pytest
import tensorflow as tf
from absl import flags

from tfface.config import components, train_flags
from tfface.config.build import build_encoder, build_head, build_schedule, completed

OTHERS = ("augmentation", "initializer", "protocol", "figure", "pooling")  # Not flags of a training by these names.
FLAGS = {kind: kind for kind in components.KINDS if kind not in OTHERS}
FLAGS["augmentation"] = "augment"
ALL = [(kind, name) for kind in FLAGS for name in components.names(kind)]
# Values where no default shows one.
VALUES = {"rate": 0.5, "units": [1, 1, 1, 1], "width": 16, "depth": 1, "epochs": [1], "steps": [1], "every": 64}


def parsed(*arguments):
    values = flags.FlagValues()
    train_flags.define_flags(values)
    values(["train", "--run_dir=r", "--train_data=t", *arguments])
    return train_flags.from_flags(values)


def required(kind, name):
    found = {key: VALUES[key] for key, value in components.arguments(kind, name).items() if value is inspect._empty
             and key not in components.KINDS}  # fmt: skip
    return found | ({"epochs": [1]} if name == "Steps" else {})


def call(kind, name, **arguments):
    inner = "ArcFace, " if name == "BroadFace" else ""
    written = ", ".join(f"{key}={value!r}" for key, value in {**required(kind, name), **arguments}.items())
    return f"{name}({inner}{written})"


def constructor(kind, name):
    """Parameters of a class or function, of its own and of those of this library that it passes the rest to."""
    make, found = components.find(kind, name), {}
    for owner in make.__mro__ if inspect.isclass(make) else [make]:
        if inspect.isclass(owner) and ("__init__" not in vars(owner) or not owner.__module__.startswith("tfface")):
            continue
        found = {**inspect.signature(owner).parameters, **found}
    return {name for name, parameter in found.items() if parameter.kind is not parameter.VAR_KEYWORD}


@pytest.mark.parametrize("kind, name", ALL)
def test_every_argument_is_a_flag(kind, name):
    known = components.arguments(kind, name)
    assert constructor(kind, name) - known.keys() <= components.KINDS[kind].given | {"head"}
    for argument, default in known.items():
        if argument in components.KINDS or argument in required(kind, name):
            continue
        value = VALUES.get(argument, default)
        settings = completed(parsed(f"--{FLAGS[kind]}={call(kind, name, **{argument: value})}"))
        written = getattr(settings, FLAGS[kind])
        assert f"{argument}={value!r}" in (written[0] if isinstance(written, list) else written)


@pytest.mark.parametrize("kind, name", ALL)
def test_a_wrong_argument_is_answered_with_the_right_ones(kind, name):
    with pytest.raises(ValueError) as caught:
        completed(parsed(f"--{FLAGS[kind]}={call(kind, name, colour=1)}"))
    assert str(caught.value).startswith(f"{kind} {name} has no argument 'colour'; its arguments are ")
    assert all(argument in str(caught.value) for argument in components.arguments(kind, name) if argument != "head")


@pytest.mark.parametrize("kind", FLAGS)
def test_a_wrong_name_is_answered_with_the_right_ones(kind):
    with pytest.raises(ValueError, match=f"{kind} must be one of {', '.join(components.names(kind))}; got 'Nothing'"):
        parsed(f"--{FLAGS[kind]}=Nothing")


@pytest.mark.parametrize(
    "head, message",
    [
        ("BroadFace", r"head BroadFace wraps a head, as in BroadFace\(AdaFace\)"),
        ("ArcFace(CosFace)", "head ArcFace wraps no other component, got CosFace"),
        ("ArcFace(margin=wide)", "margin must be a value, got wide; text needs quotation marks"),
        ("ArcFace(margin=9)", r"head ArcFace: margin must be in \[0, 1.5708\] radians, got 9"),
        ("ArcFace(margin='a')", "head ArcFace.*margin='a'"),
        ("ArcFace(sampler=Uniform)", r"sampler Uniform needs rate, as in Uniform\(rate=...\)"),
        ("BroadFace(ArcFace(margn=1))", "head ArcFace has no argument 'margn'.* Did you mean margin?"),
    ],
)
def test_components_refuse_in_a_sentence(head, message):
    with pytest.raises(ValueError, match=message):
        build_head(completed(parsed(f"--head={head}")), 8)


def test_nested_components_are_built():
    head = build_head(
        parsed("--head=BroadFace(ArcFace(margin=0.25, class_weights_initializer=Ones()), queue_size=3)",
               "--sampler=Uniform(rate=0.5)"), 8
    )  # fmt: skip
    head.build((None, 4))
    assert (head.queue_size, head.head.margin, head.head.sampler.rate) == (3, 0.25, 0.5)
    assert np.all(head.head.get_class_weights() == 1)


def test_names_need_no_tensorflow():
    import subprocess
    import sys

    code = "import sys; from tfface.config import components, train_config as t; t.TrainConfig(run_dir='r', "
    code += "train_data='t', head='CosFace(margin=1)'); print('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


@pytest.mark.parametrize("name", ["MobileFaceNet(width=0.1)", "IResNet(units=[1, 1, 1, 1], squeeze_excite=True)"])
def test_backbones_have_their_arguments(name):
    settings = parsed(f"--backbone={name}", "--image_size=56", "--embedding_dim=16")
    assert build_encoder(settings)(tf.zeros([1, 56, 56, 3])).shape == (1, 16)


@pytest.mark.parametrize(
    "arguments, step, rate",
    [
        (["--schedule=Constant"], 19, 0.1),
        (["--schedule=Steps(epochs=[1])"], 9, 0.1),
        (["--schedule=Steps(epochs=[1])"], 10, 0.01),
        (["--schedule=Steps(steps=[5, 12], factor=0.5)"], 12, 0.025),
        (["--schedule=Polynomial(power=1, final=0.05)"], 10, 0.075),
        (["--schedule=Cosine(final=0.02)"], 10, 0.06),
        (["--schedule=Constant", "--warmup_steps=4"], 1, 0.05),
        (["--schedule=Constant", "--warmup_epochs=0.4"], 1, 0.05),
        (["--schedule=Cosine", "--learning_rate=0"], 3, 0.0),
    ],
)
def test_schedules_have_their_arguments(arguments, step, rate):
    schedule = build_schedule(parsed(*arguments), steps_per_epoch=10, total_steps=20)
    np.testing.assert_allclose(schedule(step), rate, rtol=1e-5, atol=1e-9)


def test_size_of_composed_batches():
    assert completed(parsed("--batches=PK(identities=8, images=3)")).batch_size == 24
    assert completed(parsed("--batches=PK(identities=8, images=3)", "--batch_size=24")).batch_size == 24
    with pytest.raises(ValueError, match="batch_size must be 24 with PK.* got 32"):
        completed(parsed("--batches=PK(identities=8, images=3)", "--batch_size=32"))


def test_settings_are_compared_with_defaults_filled_in():
    short, long = parsed("--head=ArcFace"), parsed("--head=ArcFace(overflow='fallback', margin=0.5)")
    assert short != long
    assert completed(short) == completed(long)
