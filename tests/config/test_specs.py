"""Components written as calls are read, never evaluated."""

import pytest

from tfface.config.specs import Spec, parse


@pytest.mark.parametrize(
    "text, expected",
    [
        ("ArcFace", Spec("ArcFace")),
        (" ArcFace() ", Spec("ArcFace")),
        ("ArcFace(margin=0.5, scale=-64)", Spec("ArcFace", None, {"margin": 0.5, "scale": -64})),
        ("S(epochs=[1, 2.5], name='a')", Spec("S", None, {"epochs": [1, 2.5], "name": "a"})),
        ("S(on=True, off=None)", Spec("S", None, {"on": True, "off": None})),
        ("B(A(m=1), q=2)", Spec("B", Spec("A", None, {"m": 1}), {"q": 2})),
        ("B(A)", Spec("B", Spec("A"))),
        ("A(sampler=U(rate=0.1))", Spec("A", None, {"sampler": Spec("U", None, {"rate": 0.1})})),
    ],
)  # fmt: skip
def test_calls_are_read_and_written(text, expected):
    assert parse(text) == expected
    assert parse(str(expected)) == expected


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "expected a name or a call"),
        ("ArcFace(", "expected a name or a call"),
        ("ArcFace(0.5)", r"values of ArcFace need their names, as in ArcFace\(NAME=0.5\)"),
        ("A(B, C)", "values of A need their names"),
        ("A(m=1, m=2)", "expected a name or a call"),
        ("A(**{'m': 1})", "expected a name or a call"),
        ("a.b(c=1)", "got a.b"),
        ("__import__('os').system('true')", "expected a name or a call"),
        ("A(m=1 + 1)", "expected a name or a call"),
        ("A(m=[x for x in y])", "expected a name or a call"),
        ("A(m=lambda: 0)", "expected a name or a call"),
        ("A; B", "expected a name or a call"),
        ("(" * 1500 + ")" * 1500, "expected a name or a call"),
        ("A(m=" + "-" * 2000 + "1)", "expected a name or a call"),
        ("A" * 5000, "5000 characters, 4096 at most"),
    ],
)
def test_anything_else_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse(text)
