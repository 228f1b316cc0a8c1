"""Statistics, contact sheet and page of a dataset: correct, independent of the order, and safe to open."""

import base64
import hashlib
import html.parser
import io
import random

import numpy as np
import pytest
from PIL import Image

from tfface.data.curation import inspection, inspection_page

NASTY = '<script>alert("1")</script>&amp;'


@pytest.fixture
def source(memory_source, picture):
    """12 identities with 1 to 12 images of two sizes, one of them with a name that is markup, and two bad files."""
    images = {}
    for person in range(12):
        name = NASTY.replace("/", "_") if person == 5 else f"person_{person}"
        for shot in range(person + 1):
            size, kind = ((24, 20), "PNG") if shot % 2 else ((40, 60), "JPEG")
            marks = tuple(float(value) for value in range(10)) if shot % 3 == 0 else None
            images[f"{name}/{shot}"] = picture(100 * person + shot, size=size, format=kind), marks
    images["person_0/bad"] = b"no image"
    images["person_1/bomb"] = picture(0)[:20]
    shuffled = list(images.items())
    random.Random(0).shuffle(shuffled)
    return memory_source(dict(shuffled))


def test_numbers_are_those_of_plain_counting(source):
    summary = inspection.summarise(source, workers=2)
    good = {key: value for key, value in source.images.items() if not key.endswith(("bad", "bomb"))}
    assert summary.images == len(good) == 78
    assert sorted(summary.images_of.values()) == list(range(1, 13))
    odd = sum(int(key.split("/")[1]) % 2 for key in good)
    assert summary.sizes == {(24, 20): odd, (40, 60): 78 - odd} and summary.formats == {"PNG": odd, "JPEG": 78 - odd}
    assert summary.num_bytes == sum(len(data) for data, _ in good.values())
    assert summary.landmarks == sum(marks is not None for _, marks in good.values())
    assert sorted(place for place, _ in summary.bad) == ["person_0/bad", "person_1/bomb"]


def test_sample_is_the_smallest_hashes_whatever_the_order(source, memory_source):
    def rank(name):
        return hashlib.sha256(name.encode()).digest()

    expected = {}
    for key in source.images:
        if not key.endswith(("bad", "bomb")):
            expected.setdefault(key.split("/")[0], []).append(key)
    names = sorted(expected, key=rank)[:5]
    expected = {name: sorted(expected[name], key=rank)[:3] for name in names}
    for order in (1, -1):
        again = memory_source(dict(list(source.images.items())[::order]))
        samples = inspection.summarise(again, identities=5, images=3).samples
        assert {name: [item.key for item in items] for name, items in samples.items()} == expected


def test_sheet_shows_each_face_in_its_place(memory_source):
    colours = {"a/0": (250, 10, 10), "a/1": (10, 250, 10), "b/0": (10, 10, 250)}
    images = {}
    for key, colour in colours.items():
        buffer = io.BytesIO()
        Image.new("RGB", (50, 50), colour).save(buffer, "PNG")
        images[key] = buffer.getvalue()
    source = memory_source({**images, "b/1": images["b/0"][:50]})
    samples = {name: [item for item in source.items() if item.identity == name] for name in ("a", "b")}
    sheet = np.asarray(inspection.contact_sheet(source, samples))
    assert sheet.shape[0] == 2 * 116 + 4
    left = sheet.shape[1] - 2 * 116 - 4
    for (row, column), key in {(0, 0): "a/0", (0, 1): "a/1", (1, 0): "b/0"}.items():
        cell = sheet[4 + row * 116 : 116 + row * 116, left + column * 116 : left + column * 116 + 112]
        assert (cell == colours[key]).all()
    assert len(np.unique(sheet[4 + 116 : 2 * 116, left + 116 : left + 116 + 112].reshape(-1, 3), axis=0)) == 1
    with pytest.raises(ValueError, match="no images to show"):
        inspection.contact_sheet(source, {})


def test_landmarks_are_drawn_where_they_are(memory_source, picture):
    buffer = io.BytesIO()
    Image.new("RGB", (56, 56), "white").save(buffer, "PNG")
    marks = (10.0, 10.0, 40.0, 10.0, 28.0, 25.0, 15.0, 45.0, 35.0, 45.0)
    source = memory_source({"a/0": (buffer.getvalue(), marks)})
    sheet = np.asarray(inspection.contact_sheet(source, {"a": list(source.items())})).astype(int)
    cell = sheet[4:116, -120:-8]
    rows, columns = np.nonzero((cell != 255).any(axis=2))
    for x, y in np.reshape(marks, (5, 2)):
        place = 2 * x + 0.5, 2 * y + 0.5  # Twice as large, pixel centre to pixel centre.
        near = np.hypot(columns - place[0], rows - place[1]) < 5
        assert near.sum() >= 5
        assert abs(columns[near].mean() - place[0]) <= 1 and abs(rows[near].mean() - place[1]) <= 1


class Reader(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.sources, self.text, self.open = [], [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.sources += [value for name, value in attributes if name in ("src", "href")]
        assert not any(name.startswith("on") for name, _ in attributes)
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_page_is_self_contained_and_escapes_every_name(source, tmp_path):
    source.location = NASTY
    source.skipped = [("place " + NASTY, "reason " + NASTY)]
    summary = inspection.summarise(source)
    inspection_page.write_inspection(tmp_path, summary, inspection.contact_sheet(source, summary.samples))
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(text)
    assert "default-src 'none'" in text
    assert reader.open == [] and "script" not in reader.tags and "link" not in reader.tags
    assert len(reader.sources) == 2 and "://" not in text and "url(" not in text
    for picture in reader.sources:
        kind, data = picture.split(";base64,")
        assert kind.startswith("data:image/")
        Image.open(io.BytesIO(base64.b64decode(data))).load()
    shown = " ".join(reader.text)
    for expected in (NASTY, "place " + NASTY, "reason " + NASTY, NASTY.replace("/", "_"), "78", "6.5 (1–12)"):
        assert expected in shown
    sheet = Image.open(tmp_path / "contact_sheet.png")
    assert sheet.height == 12 * 116 + 4


def test_bins_hold_every_value_and_lie_between_whole_numbers():
    rng = np.random.default_rng(0)
    for values in (np.array([14]), np.array([1, 100_000]), rng.integers(1, 50, 99), rng.integers(200, 9000, 99)):
        edges = inspection_page._edges(values)
        assert np.histogram(values, edges)[0].sum() == len(values)
        assert (edges % 1 == 0.5).all() and 2 <= len(edges) <= 41
