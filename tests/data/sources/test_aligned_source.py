"""From photographs to datasets of aligned faces: drawn ones with known landmarks, and CFP's."""

import io

import numpy as np
import pytest
from PIL import Image

from tfface.data.conversion.convert import convert
from tfface.data.conversion.writer import write_shards
from tfface.data.formats import cfp_fiducials
from tfface.data.images import alignment
from tfface.data.sources.aligned_source import AlignedSource
from tfface.data.sources.folders import FolderSource
from tfface.data.sources.records_source import RecordsSource
from tfface.data.synthetic.rendering import write_folder


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    root = tmp_path_factory.mktemp("photographs") / "faces"
    write_folder(root, identities=3, images_per_identity=4, size=160)
    return root


def decode(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.mark.parametrize("size", [112, (112, 96)])
def test_dataset_holds_the_aligned_faces_and_their_landmarks(photographs, tmp_path, size):
    source = FolderSource(photographs)
    originals = {item.key: (source.read(item), item.landmarks) for item in source.items()}
    info = convert(AlignedSource(source, image_size=size), tmp_path / "out").datasets[str(tmp_path / "out")]
    assert (info.images, info.identities, info.landmarks) == (12, 3, 12)
    assert info.image_size == ((112, 112) if size == 112 else (112, 96))
    stored = RecordsSource(tmp_path / "out")
    for item in stored.items():
        data, landmarks = originals.pop(item.key)
        points = np.reshape(landmarks, (5, 2))
        np.testing.assert_array_equal(decode(stored.read(item)), alignment.align(decode(data), points, size))  # PNG.
        matrix = alignment.similarity_transform(points, alignment.reference_landmarks(size))
        np.testing.assert_allclose(item.landmarks, alignment.transform_points(matrix, points).ravel(), rtol=1e-6)
    assert not originals


def test_jpegs_are_stored_nearly_as_they_are(photographs, memory_source):
    (item, *_), source = FolderSource(photographs).items(), FolderSource(photographs)
    data = source.read(item)
    expected = alignment.align(decode(data), np.reshape(item.landmarks, (5, 2)))
    sizes = {}
    for quality in (60, 95):
        aligned = AlignedSource(memory_source({"a/1.jpg": (data, item.landmarks)}), quality=quality)
        (moved,) = aligned.items()
        stored = aligned.read(moved)
        assert np.abs(decode(stored).astype(int) - expected).mean() < (5 if quality == 60 else 2)
        sizes[quality] = len(stored)
    assert sizes[60] < sizes[95]


def test_photographs_without_usable_landmarks_are_listed(memory_source, picture):
    nan = float("nan")
    table = {
        "a/1.png": tuple(range(10)),
        "a/2.png": (1.0, 2.0, *[nan] * 8),
        "a/3.png": (1.0, 2.0, nan, nan, 9.0, 12.0, *[nan] * 4),
    }
    source = AlignedSource(memory_source({f"a/{number}.png": picture(number) for number in range(5)}), table)
    items = {item.key: item.landmarks for item in source.items()}
    assert items.keys() == {"a/1.png", "a/3.png"}
    assert items["a/1.png"] is not None and items["a/3.png"] is None
    assert [place for place, _ in source.skipped] == ["a/0.png", "a/2.png", "a/4.png"]
    assert source.skipped[0][1] == "no landmarks" and "two different landmarks are needed" in source.skipped[1][1]


def test_fingerprint_follows_landmarks_size_and_quality(memory_source, picture):
    def fingerprint(shift=0.0, **options):
        table = {"a/1.png": tuple(shift + value * value for value in range(10))}
        source = AlignedSource(memory_source({"a/1.png": picture(1)}), table, **options)
        list(source.items())
        return source.fingerprint

    assert fingerprint() == fingerprint()
    assert len({fingerprint(), fingerprint(1.0), fingerprint(image_size=(112, 96)), fingerprint(quality=90)}) == 4


def test_damaged_photograph_is_a_bad_image(memory_source, picture, tmp_path):
    good = {f"{name}/1.png": (picture(7), tuple(range(10))) for name in "ab"}
    source = AlignedSource(memory_source({**good, "b/2.png": (picture(8)[:60], tuple(range(10)))}))
    with pytest.raises(ValueError, match=r"b/2.png: .*image"):
        convert(source, tmp_path / "out")
    assert convert(source, tmp_path / "out", skip_bad=True).datasets[str(tmp_path / "out")].images == 2


def test_bad_options_are_named(memory_source):
    with pytest.raises(ValueError, match="aligned to 112 x 112 or .* got 64"):
        AlignedSource(memory_source({}), image_size=64)
    with pytest.raises(ValueError, match="`quality` must be in .* got 0"):
        AlignedSource(memory_source({}), quality=0)


def test_cfp_points_become_landmarks_of_the_marked_half(tmp_path):
    points = np.arange(60, dtype=float).reshape(30, 2)
    points[12:18] = [[10, 20], [20, 10], [30, 10], [40, 20], [30, 30], [20, 30]]
    for name, nose in (("01", 50.0), ("02", 5.0)):
        points[21] = nose, 60
        points[25] = 30, 80
        path = tmp_path / "001" / "frontal" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{x},{y}\n" for x, y in points))
    nan = float("nan")
    left, right = (
        np.array(cfp_fiducials.read_cfp_fiducials(tmp_path)[f"001/frontal/{name}.jpg"]) for name in ("01", "02")
    )
    np.testing.assert_array_equal(left, [25, 20, nan, nan, 50, 60, 30, 80, nan, nan])
    np.testing.assert_array_equal(right, [nan, nan, 25, 20, 5, 60, nan, nan, 30, 80])


@pytest.mark.parametrize(
    "text", ["", "1,2\n" * 29, "1,2,3\n" * 30, "1,2\n" * 29 + "1,nan\n", "a,b\n" * 30, "x" * 5000 + ",1\n"]
)
def test_other_point_files_are_refused_by_name(tmp_path, text):
    path = tmp_path / "001" / "frontal" / "01.txt"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(ValueError, match=f"{path}: ") as caught:
        cfp_fiducials.read_cfp_fiducials(tmp_path)
    assert len(str(caught.value)) < 1000
    with pytest.raises(ValueError, match="is not CFP's folder"):
        cfp_fiducials.read_cfp_fiducials(tmp_path / "001")


def test_cfp_goes_through_and_looks_as_others_aligned_it(shared_data, tmp_path):
    """All 280 photographs; cfp112 holds the same ones, aligned independently from the same points."""
    root = shared_data / "cfp_raw" / "Data"
    points = cfp_fiducials.read_cfp_fiducials(root / "Fiducials")
    assert len(points) == 280 and all(np.isfinite(one).sum() == 6 for one in points.values())
    result = convert(AlignedSource(FolderSource(root / "Images"), points), tmp_path / "cfp")
    info = result.datasets[str(tmp_path / "cfp")]
    assert (info.images, info.identities, info.image_size, info.landmarks) == (280, 20, (112, 112), 0)
    assert result.skipped == []
    stored = RecordsSource(tmp_path / "cfp")
    for item in list(stored.items())[::5]:
        other = Image.open(shared_data / "cfp112" / "Data" / "Images" / item.key)
        difference = decode(stored.read(item)).astype(int) - np.asarray(other.convert("RGB"))
        # Mean over all pixels; theirs are smoothed and compressed more. Another person's face differs by 40 to 80.
        assert np.abs(difference).mean() < 15


def test_landmarks_of_another_resolution_are_bad(photographs, memory_source):
    source = FolderSource(photographs)
    items = list(source.items())
    images = {item.key: (source.read(item), item.landmarks) for item in items}
    for scale, number in ((1.0, 0), (250 / 150, 12), (4.0, 12), (-1.0, 12)):
        table = {item.key: tuple(scale * value for value in item.landmarks) for item in items}
        aligned = AlignedSource(memory_source(images), table)
        reasons = []
        for item in aligned.items():
            try:
                aligned.read(item)
            except ValueError as error:
                reasons.append(str(error))
        assert len(reasons) == number, scale
        assert all("another resolution?" in reason and "160 x 160" in reason for reason in reasons)


def test_faces_partly_outside_are_counted(memory_source, picture):
    reference = alignment.reference_landmarks()
    photograph = Image.new("RGB", (112, 112))
    buffer = io.BytesIO()
    photograph.save(buffer, "PNG")
    for shift, share in ((0, 0.0), (8, 8 / 112), (20, 20 / 112)):
        points = reference + [shift, 0]
        found = alignment.share_outside(points, (112, 112))
        assert found == pytest.approx(share, abs=1e-9)
        pixels = alignment.align(np.full((112, 112, 3), 255, np.uint8), points)
        assert np.mean(pixels[..., 0] == 0) == pytest.approx(share, abs=1 / 112)
        aligned = AlignedSource(memory_source({"a/1.png": (buffer.getvalue(), None)}), {"a/1.png": points.ravel()})
        (item,) = aligned.items()
        aligned.read(item)
        assert aligned.cut_off == ({"a/1.png"} if share > 0.1 else set())


def test_a_continued_conversion_counts_what_was_read_before(photographs, tmp_path):
    points = alignment.reference_landmarks() * 1.4
    keys = [item.key for item in FolderSource(photographs).items()]
    table = {key: (points - [0, 30 * (number % 2)]).ravel() for number, key in enumerate(keys)}

    def write(source, shards, advance):
        yield next(write_shards(source, shards, advance, workers=1))
        raise OSError("the disk is full.")

    with pytest.raises(OSError, match="the disk is full"):
        convert(AlignedSource(FolderSource(photographs), table), tmp_path / "out", num_shards=4, write=write)
    source = AlignedSource(FolderSource(photographs), table)
    convert(source, tmp_path / "out", num_shards=4)
    assert source.cut_off == set(keys[1::2])
