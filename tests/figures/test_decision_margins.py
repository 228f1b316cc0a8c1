"""Decision margins against the closed formulas of the heads."""

import numpy as np
import pytest

from tfface.figures import DecisionMargins

DEGREES = np.arange(181)
RADIANS = np.radians(DEGREES)


@pytest.mark.parametrize(
    "head, expected",
    [
        ("NormSoftmax", DEGREES),
        ("ArcFace(margin=0.5)", DEGREES + np.degrees(0.5)),
        ("SphereFace(margin=1.35)", 1.35 * DEGREES),
        ("CosFace(margin=0.35)", np.degrees(np.arccos(np.maximum(np.cos(RADIANS) - 0.35, -1)))),
    ],
)
def test_boundaries_are_those_of_the_formulas(head, expected):
    figure = DecisionMargins(heads=[head])
    # Near 0 and 180 degrees the cosine in float32 hardly depends on the angle.
    shown = (expected < 178) & (expected > 2)
    np.testing.assert_allclose(figure.boundaries[0][shown], expected[shown], atol=0.02)
    if head.startswith("CosFace"):
        assert np.isnan(figure.boundaries[0][np.cos(RADIANS) < -0.651]).all()
    axes = figure.draw().axes[0]
    own, other = axes.get_lines()
    there = np.isfinite(figure.boundaries[0])
    np.testing.assert_array_equal(own.get_xydata(), np.stack([DEGREES, figure.boundaries[0]], axis=1)[there])
    np.testing.assert_array_equal(other.get_xydata(), own.get_xydata()[:, ::-1])
    assert axes.get_title(loc="left") == head
    # The margin is where neither class has its condition: class 1 is above its boundary, class 2 right of its own.
    (margin,) = axes.collections
    inside = margin.get_paths()[0].contains_points(
        [(60, 60 + 1), (60, 60 - 1), (10, 10.5), (60, 120), (120, 60), (3, 2)]
    )
    assert inside.tolist() == [head != "NormSoftmax"] * 3 + [False, False, head[0] in "AC"]


def test_four_heads_are_drawn_without_arguments():
    assert [axes.get_title(loc="left").partition("(")[0] for axes in DecisionMargins().draw().axes] == [
        "NormSoftmax",
        "SphereFace",
        "CosFace",
        "ArcFace",
    ]


@pytest.mark.parametrize(
    "heads, message",
    [
        (["SphereFace2"], r"SphereFace2: its logits depend on more than the angles \('bias'\)"),
        (["Softmax"], "Softmax: its logits depend on the lengths"),
        (["ArcFace(colour=1)"], "head ArcFace has no argument 'colour'"),
        ("ArcFace", "must be a list of heads"),
        ([], "must be a list of heads"),
    ],
)
def test_other_heads_are_refused(heads, message):
    with pytest.raises(ValueError, match=message):
        DecisionMargins(heads)
