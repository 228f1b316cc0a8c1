"""Model cards: the same dict for programs and for people."""

import json

import pytest

from tfface.export import saved_model, write_card

CARD = {
    "name": "a|b<i>",
    "flip": True,
    "threshold": None,
    "notes": ["No threshold."],
    "results": [{"protocol": "one", "accuracy": 0.912345678}, {"protocol": "two", "accuracy": None}],
    "network": {"backbone": "SFNet20", "image_size": [112, 96]},
    "training": {"steps": 7, "flags": "--a=1\n--b=<2>\n"},
}


def test_markdown_says_the_same_to_people(tmp_path):
    write_card(CARD, tmp_path / "face.tflite")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["face.tflite.card.json", "face.tflite.card.md"]
    assert json.loads((tmp_path / "face.tflite.card.json").read_text(encoding="utf-8")) == CARD
    expected = r"""# Model card of a\|b&lt;i&gt;

|  |  |
| --- | --- |
| Name | a\|b&lt;i&gt; |
| Flip | yes |
| Threshold | — |

## Notes

* No threshold.

## Results

| Protocol | Accuracy |
| --- | --- |
| one | 0.912346 |
| two | — |

## Network

|  |  |
| --- | --- |
| Backbone | SFNet20 |
| Image size | 112, 96 |

## Training

|  |  |
| --- | --- |
| Steps | 7 |

### Flags

```text
--a=1
--b=<2>
```
"""
    assert (tmp_path / "face.tflite.card.md").read_text(encoding="utf-8") == expected


def test_a_saved_model_has_its_card_inside(encoder, tmp_path):
    saved_model(encoder, tmp_path / "1", card=CARD)
    assert json.loads((tmp_path / "1/assets.extra/model_card.json").read_text(encoding="utf-8")) == CARD
    assert (tmp_path / "1/assets.extra/model_card.md").read_text(encoding="utf-8").startswith("# Model card of")


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, b"bytes"], ids=str)
def test_refuses_what_json_cannot_hold(tmp_path, value):
    with pytest.raises(ValueError, match="`card` must hold JSON values"):
        write_card({"value": value}, tmp_path / "face.onnx")
    assert not list(tmp_path.iterdir())
