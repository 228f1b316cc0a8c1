"""Image hashes and their search, against the cosine transform's formula, brute force, and real duplicates."""

import hashlib
import io
import itertools
import math

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from tfface.data.curation import duplicates, image_hashes
from tfface.data.sources.folders import FolderSource
from tfface.data.synthetic.rendering import render_face


def encode(image, **save):
    buffer = io.BytesIO()
    image.save(buffer, **{"format": "PNG", **save})
    return buffer.getvalue()


def distances(one, other):
    bits = [bin(int(a) ^ int(b)).count("1") for a, b in zip(one, other, strict=True)]
    return bits[0], sum(bits[1:])


def is_near(one, other):
    coarse, fine = distances(one, other)
    return coarse <= duplicates.COARSE_RADIUS and fine <= duplicates.FINE_RADIUS


@pytest.fixture(scope="module")
def pictures():
    return [Image.fromarray(render_face(0, identity, 0)[0]) for identity in range(30)]


def test_hash_is_the_sign_of_a_cosine_transform(pictures):
    image = pictures[0].resize((64, 64))
    grey = np.asarray(image.convert("L"), np.float64)

    def coefficient(u, v):
        row = [math.cos(math.pi * u * (2 * y + 1) / 128) for y in range(64)]
        column = [math.cos(math.pi * v * (2 * x + 1) / 128) for x in range(64)]
        return sum(row[y] * sum(grey[y, x] * column[x] for x in range(64)) for y in range(64))

    found = image_hashes.perceptual_hash(encode(image))
    for highest, words in ((8, found[:1]), (16, found[1:])):
        spectrum = [coefficient(u, v) for u in range(1, highest + 1) for v in range(1, highest + 1)]
        bits = "".join(f"{int(word):064b}" for word in words)
        assert bits == "".join(str(int(value > np.median(spectrum))) for value in spectrum)


@pytest.mark.parametrize(
    "change",
    [
        lambda image: encode(image, format="JPEG", quality=50),
        lambda image: encode(image.resize((224, 224), Image.Resampling.BICUBIC)),
        lambda image: encode(image.resize((64, 64), Image.Resampling.LANCZOS), format="JPEG", quality=90),
        lambda image: encode(image.convert("L")),
        lambda image: encode(ImageEnhance.Contrast(image).enhance(0.7)),
        lambda image: encode(image.point(lambda value: 255 * (value / 255) ** 0.9)),
    ],
    ids=["jpeg", "twice the size", "small jpeg", "grey", "contrast", "gamma"],
)
def test_copies_of_a_picture_are_near_and_other_faces_are_not(pictures, change):
    originals = [image_hashes.perceptual_hash(encode(image)) for image in pictures]
    copies = [image_hashes.perceptual_hash(change(image)) for image in pictures]
    near = [(i, j) for i, one in enumerate(originals) for j, other in enumerate(copies) if is_near(one, other)]
    assert sum(i == j for i, j in near) >= 28  # There are 30 such pairs.
    assert all(i == j for i, j in near)


def test_empty_pictures_have_one_hash():
    blank = [encode(Image.new("RGB", (112, 112), colour)) for colour in ("white", "black", "#808080")]
    assert len({image_hashes.perceptual_hash(data).tobytes() for data in blank}) == 1


def crowd(rng, count):
    """Hashes in clusters: originals, and copies with a few bits flipped, on both sides of the limits."""
    centres = rng.integers(0, 1 << 64, (count // 10, 5), np.uint64)
    hashes = centres[rng.integers(0, len(centres), count)]
    for row in hashes:
        for word, most in enumerate((10, 12, 12, 12, 12)):
            for bit in rng.choice(64, rng.integers(0, most), replace=False):
                row[word] ^= np.uint64(1) << np.uint64(bit)
    return np.unique(hashes, axis=0)


def near_pairs(hashes):
    """The distinct pairs that the search yields, sorted."""
    return sorted(map(list, {tuple(pair) for pairs in duplicates.near_pairs(hashes) for pair in pairs.tolist()}))


def test_search_finds_what_comparing_all_pairs_finds(monkeypatch):
    hashes = crowd(np.random.default_rng(0), 600)
    expected = [[i, j] for i, j in itertools.combinations(range(len(hashes)), 2) if is_near(hashes[i], hashes[j])]
    assert len(expected) > 150
    assert near_pairs(hashes) == expected
    monkeypatch.setattr(duplicates, "_CHUNK", 10)
    assert near_pairs(hashes) == expected
    monkeypatch.delattr(np, "bitwise_count", raising=False)  # As in NumPy 1.26.
    assert near_pairs(hashes) == expected


def test_search_is_exact_at_the_limit():
    """All ways to spread 7 differences over the four bands are found, and none to spread 8."""
    base = np.zeros(5, np.uint64)
    for spread in itertools.product(range(8), repeat=4):
        if sum(spread) in (7, 8):
            other = base.copy()
            other[0] = sum(((1 << count) - 1) << (16 * band) for band, count in enumerate(spread))
            assert near_pairs(np.stack([base, other])) == ([[0, 1]] if sum(spread) == 7 else [])


@pytest.mark.parametrize("count", [0, 1])
def test_few_hashes_have_no_pairs(count):
    assert near_pairs(np.zeros((count, 5), np.uint64)) == []


def test_groups_are_the_connected_components():
    hashes = crowd(np.random.default_rng(1), 400)
    hashes = np.concatenate([hashes, hashes[:50]])[np.random.default_rng(2).permutation(len(hashes) + 50)]
    names = [str(number) for number in range(len(hashes))]
    groups = [{number} for number in range(len(hashes))]
    for i, j in itertools.combinations(range(len(hashes)), 2):
        if is_near(hashes[i], hashes[j]) and groups[i] is not groups[j]:
            groups[i] |= groups[j]
            for member in groups[j]:
                groups[member] = groups[i]
    expected = sorted({tuple(sorted(group)) for group in groups if len(group) > 1})
    digests = np.zeros((len(hashes), 16), np.uint8)
    found = duplicates.duplicate_groups(image_hashes.ImageHashes(names, names, digests, hashes, []))
    assert [tuple(group) for group in found] == expected and len(expected) > 10


def test_hashes_of_a_source_keep_order_and_list_the_bad(memory_source, picture):
    content = {f"p{number % 3}/{number}.png": picture(number) for number in range(40)}
    content["p0/bad.png"] = b"no image"
    found = image_hashes.hash_images(memory_source(content), workers=3)
    assert found.keys == list(content)[:-1] and found.identities == [key.split("/")[0] for key in found.keys]
    assert found.bad == [("p0/bad.png", "not a JPEG or PNG image")]
    for key, digest, look in zip(found.keys, found.digests, found.perceptual, strict=True):
        assert digest.tobytes() == hashlib.sha256(content[key]).digest()[:16]
        np.testing.assert_array_equal(look, image_hashes.perceptual_hash(content[key]))


def test_real_duplicates_are_of_one_person(shared_data):
    """CFP contains duplicates; among a million pairs of aligned faces, no two of different people are near."""
    root = shared_data / "cfp112" / "Data" / "Images"
    source = FolderSource(root)
    everything, source.items = source.items, lambda: (item for item in everything() if item.identity > "400")
    hashes = image_hashes.hash_images(source)
    assert len(hashes.keys) == 1400 and hashes.bad == []
    groups = duplicates.duplicate_groups(hashes)
    assert all(len({hashes.identities[member] for member in group}) == 1 for group in groups)
    by_bytes = {}
    for key in hashes.keys:
        by_bytes.setdefault((root / key).read_bytes(), set()).add(key)
    found = [{hashes.keys[member] for member in group} for group in groups]
    same = [keys for keys in by_bytes.values() if len(keys) > 1]
    assert len(same) == 4 and all(any(keys <= group for group in found) for keys in same)
    assert len(groups) == 9
