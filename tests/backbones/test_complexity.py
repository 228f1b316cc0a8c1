"""Sizes of the networks against published ones, and the table of the documentation."""

import pathlib

import pytest

from tfface import backbones
from tfface.backbones import complexity

# Backbone, embedding size, image size, millions of parameters, billions of multiply-accumulates.
PUBLISHED = [
    # Model Zoo of OpenVINO: Caffe's SphereFace-20, 3.504 GFLOPs, and MXNet's LResNet100E-IR, 24.2115 GFLOPs.
    ("SFNet20", 512, (112, 96), 22.671, 1.752),
    pytest.param("IResNet100", 512, 112, 65.132, 12.106, marks=pytest.mark.slow),
    # MobileFaceNet's paper, 128 dimensions and a final 1 × 1 convolution: 0.99 M.
    ("MobileFaceNet", 128, 112, 0.99, None),
    # README of arcface_torch.
    ("IResNet18", 512, 112, None, 2.6),
    pytest.param("IResNet50", 512, 112, None, 6.3, marks=pytest.mark.slow),
    pytest.param("IResNet200", 512, 112, None, 23.5, marks=pytest.mark.slow),
    ("InsightFaceMobileFaceNet", 512, 112, None, 0.45),
    ("ViTTiny", 512, 112, None, 1.5),
    pytest.param("ViTSmall", 512, 112, None, 5.7, marks=pytest.mark.slow),
    # Keras: 25,636,712 weights with the classifier of 1000 classes, of which 53,120 are moving statistics.
    ("ResNet50", 1000, 224, 25.5836, None),
]


@pytest.mark.parametrize("name, embedding_dim, image_size, parameters, operations", PUBLISHED)
def test_sizes_are_the_published_ones(name, embedding_dim, image_size, parameters, operations):
    model = getattr(backbones, name)(embedding_dim, image_size)
    if parameters is not None:
        tolerance = 0.02 if name == "MobileFaceNet" else 0.0005
        assert complexity.count_parameters(model) / 1e6 == pytest.approx(parameters, rel=tolerance)
    if operations is not None:
        # Published to this digit, in places cut rather than rounded.
        digit = 0.01 if operations < 1 else 0.1
        assert -digit / 2 <= complexity.count_multiply_accumulates(model) / 1e9 - operations < digit


@pytest.mark.parametrize(
    "names",
    [
        ("SFNet20", "IResNet18", "MobileFaceNet", "ViTTiny"),
        pytest.param(tuple(complexity.TABLE), marks=pytest.mark.slow),
    ],
)
def test_table_of_the_documentation_is_what_its_command_prints(names):
    text = (pathlib.Path(__file__).parents[2] / "docs" / "backbones.md").read_text(encoding="utf-8")
    for row in complexity.table(names).splitlines():
        assert row in text
