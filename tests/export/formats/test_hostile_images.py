"""Byte signatures in TensorFlow's C++ loader answer to images of every kind, within bounded memory."""

import io
import struct
import sys
import zlib

import c_api
import keras
import numpy as np
import pytest
from PIL import Image, ImageOps

from tfface.data.images.alignment import reference_landmarks
from tfface.export import saved_model

SIZE = 16
RNG = np.random.default_rng(0)
# Smooth, so that the losses of JPEG and the upsampling of chroma do not matter.
SMOOTH = np.asarray(Image.fromarray(RNG.integers(40, 216, [3, 3, 3], np.uint8)).resize((SIZE, SIZE), 2))
OTHER = Image.fromarray(RNG.integers(0, 256, [SIZE, SIZE, 3], np.uint8))


def encode(image, file_format, **options):
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def smooth(mode="RGB", size=SIZE):
    return Image.fromarray(SMOOTH).resize((size, size)).convert(mode)


def png(width, height, depth, colour, rows, interlace=0):
    """A PNG file of bare rows, each with its filter byte; Pillow does not write every kind."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def interlaced_png():
    passes = [(0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4), (2, 4, 0, 2), (0, 2, 1, 2), (1, 2, 0, 1)]
    images = [SMOOTH[top::down, left::right] for top, down, left, right in passes]  # Adam7
    return png(SIZE, SIZE, 8, 2, b"".join(b"\0" + row.tobytes() for image in images for row in image), interlace=1)


def png_of_16_bits():
    values = SMOOTH.astype(">u2") * 256 + RNG.integers(0, 256, SMOOTH.shape)
    return png(SIZE, SIZE, 16, 2, b"".join(b"\0" + row.astype(">u2").tobytes() for row in values))


def ycck():
    data = encode(smooth("CMYK"), "JPEG", quality=95)
    transform = data.index(b"Adobe") + 11
    return data[:transform] + b"\2" + data[transform + 1 :]


def oriented():
    exif = Image.Exif()
    exif[0x0112] = 6
    return encode(smooth(), "JPEG", exif=exif)


def with_segment(data):
    """A JPEG file with `data` in an application segment, as thumbnails and colour profiles are."""
    picture = encode(smooth(), "JPEG")
    return picture[:2] + b"\xff\xe1" + struct.pack(">H", len(data) + 2) + data + picture[2:]


JPEG, PROGRESSIVE = (encode(smooth(), "JPEG", quality=95, progressive=progressive) for progressive in (False, True))
PNG = encode(smooth(), "PNG")

# Files that are decoded, with the pixels that Pillow decodes.
ACCEPTED = {
    **{f"png {mode}": encode(smooth(mode), "PNG") for mode in ("RGB", "L", "LA", "RGBA", "P", "1")},
    "png palette with transparency": encode(smooth("P"), "PNG", transparency=3),
    "png 16-bit": png_of_16_bits(),
    "png interlaced": interlaced_png(),
    "png animated": encode(smooth(), "PNG", save_all=True, append_images=[OTHER]),
    "png trailing garbage": PNG + b"garbage" * 100,
    **{f"jpeg {mode}": encode(smooth(mode), "JPEG", quality=95) for mode in ("RGB", "L", "CMYK")},
    "jpeg ycck": ycck(),
    "jpeg without subsampling": encode(smooth(), "JPEG", subsampling=0),
    "jpeg progressive": PROGRESSIVE,
    "jpeg oriented": oriented(),
    "jpeg with thumbnail": with_segment(b"Exif\0\0" + encode(OTHER, "JPEG")),
    "jpeg trailing garbage": JPEG + b"garbage" * 100,
    "jpeg odd size": encode(smooth(size=61), "JPEG", quality=95),
    **{f"{kind} 1x1": encode(smooth(size=1), kind) for kind in ("PNG", "JPEG")},
    "png 1x300": encode(smooth().resize((1, 300)), "PNG"),
    "png 300x1": encode(smooth().resize((300, 1)), "PNG"),
    "png of 64 megapixels": encode(Image.new("1", (8000, 8000), 1), "PNG"),
}


def frame(width, height, marker=b"\xff\xc0", picture=JPEG, bits=8):
    """A JPEG file whose header claims another size."""
    start = max(picture.find(b"\xff\xc0"), picture.find(b"\xff\xc2"))
    claim = picture[start + 2 : start + 4] + struct.pack(">BHH", bits, height, width)
    return picture[:start] + marker + claim + picture[start + 9 :]


FORMAT, LARGE = "not a JPEG or PNG image", "more than 64 megapixels"
REFUSED = {
    "empty": (b"", "the image is empty"),
    "one byte": (b"\xff", FORMAT),
    "text": (b"This is no image.", FORMAT),
    "zeros": (bytes(1000), FORMAT),
    **{kind: (encode(smooth(), kind), FORMAT) for kind in ("GIF", "BMP", "WEBP", "TIFF")},
    "gif bomb": (encode(smooth(), "GIF")[:6] + b"\xff\xff\xff\xff" + encode(smooth(), "GIF")[10:], FORMAT),
    "png that starts with another chunk": (PNG[:8] + PNG[-12:] + PNG[8:], FORMAT),
    "png claims 60000 x 60000": (png(60_000, 60_000, 8, 2, b""), LARGE),
    "png claims 2^31 x 2^31": (png(2**31, 2**31, 8, 2, b""), LARGE),
    "png claims 64,008,000 pixels": (png(8000, 8001, 8, 2, b""), LARGE),
    "png bomb": (encode(Image.new("1", (8125, 8000)), "PNG"), LARGE),
    "png of no pixels": (png(0, 5, 8, 2, b""), "Invalid PNG"),
    "png without end": (PNG[:-12], "Invalid PNG"),
    "jpeg claims 65500 x 65500": (frame(65_500, 65_500), LARGE),
    "jpeg claims 8001 x 8000": (frame(8001, 8000), LARGE),
    "jpeg after fill bytes": (frame(65_500, 65_500, b"\xff\xff\xff\xc0"), LARGE),
    "jpeg progressive bomb": (frame(13_000, 13_000, b"\xff\xc2", PROGRESSIVE), LARGE),
    "jpeg of arithmetic coding": (frame(13_000, 13_000, b"\xff\xc9"), LARGE),
    "jpeg of twelve bits": (frame(13_000, 13_000, b"\xff\xc2", PROGRESSIVE, bits=12), LARGE),
    "jpeg behind segments": (JPEG[:2] + (b"\xff\xe5\xff\xff" + bytes(65_533)) * 30 + frame(9000, 9000)[2:], LARGE),
    "jpeg of 8 x 8 that ends early": (frame(8, 8)[:300], "Invalid JPEG"),
    "jpeg of no pixels": (frame(0, 16), "Invalid JPEG"),
    "jpeg without end": (JPEG[:-2], "Invalid JPEG"),
    **{
        f"{name} cut at {n}/8": (data[: len(data) * n // 8], reason)
        for name, data, reason in [
            ("jpeg", JPEG, "Invalid JPEG"),
            ("jpeg progressive", PROGRESSIVE, "Invalid JPEG"),
            ("png", PNG, "Invalid PNG"),
        ]
        for n in range(1, 8)
    },
}


def flipped(data):
    """Yields the file with one bit flipped, at positions all over it."""
    for position in np.linspace(0, len(data) - 1, 60).astype(int):
        bit = 1 << int(RNG.integers(8))
        yield data[:position] + bytes([data[position] ^ bit]) + data[position + 1 :]


FLIPPED = {"png": list(flipped(PNG)), "jpeg": list(flipped(JPEG)), "jpeg progressive": list(flipped(PROGRESSIVE))}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Export of a network that returns its pixels, so that an embedding is the picture itself, of unit length."""
    path = tmp_path_factory.mktemp("hostile") / "1"
    saved_model(keras.Sequential([keras.Input((SIZE, SIZE, 3)), keras.layers.Flatten()]), path)
    return path


@pytest.fixture(scope="module")
def serve(served):
    """Function from a list of files to the answer of `serving_default` to each, in one process of bounded memory."""

    def call(files, gigabytes=0.5):
        memory = int(gigabytes * 2**30) if sys.platform == "linux" else None
        results = c_api.run_signatures(served, [("serving_default", {"image_bytes": [file]}) for file in files], memory)
        return [result if isinstance(result, str) else result["embedding"][0] for result in results]

    return call


@pytest.mark.parametrize("signature", ["detect_free_align", "compare"])
@pytest.mark.parametrize("name", ["empty", "GIF", "png bomb", "jpeg claims 65500 x 65500", "png cut at 4/8"])
def test_other_signatures_refuse_the_same(served, signature, name):
    landmarks = {"landmarks": reference_landmarks()[None]}

    def request(data):
        if signature == "compare":
            return signature, {"first_bytes": [PNG], "second_bytes": [data]}
        return signature, {"image_bytes": [data], **landmarks}

    data, reason = REFUSED[name]
    refused, after = c_api.run_signatures(served, [request(data), request(PNG)], 2**29)
    assert isinstance(refused, str) and reason in refused
    assert not isinstance(after, str), after


def expected(data):
    """The unit vector of the pixels that Pillow decodes, turned upright."""
    with Image.open(io.BytesIO(data)) as image:
        picture = ImageOps.exif_transpose(image).convert("RGB")
    if picture.size != (SIZE, SIZE):
        picture = picture.resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    values = np.asarray(picture, np.float64).ravel() / 127.5 - 1
    return values / np.linalg.norm(values)


@pytest.fixture(scope="module")
def accepted(serve):
    return dict(zip(ACCEPTED, serve(ACCEPTED.values(), gigabytes=2), strict=True))


@pytest.mark.parametrize("name", ACCEPTED)
def test_is_decoded_as_pillow_decodes_it(accepted, name):
    assert not isinstance(accepted[name], str), accepted[name]
    # Two in 255 of a pixel, relative to the length of the picture: rounding of colours and of resized pixels.
    np.testing.assert_allclose(accepted[name], expected(ACCEPTED[name]), atol=2e-3)


@pytest.fixture(scope="module")
def refused(serve):
    results = serve([file for data, _ in REFUSED.values() for file in (data, PNG)])
    return dict(zip(REFUSED, zip(results[::2], results[1::2], strict=True), strict=True))


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused_with_its_reason_and_the_next_request_succeeds(refused, name):
    error, after = refused[name]
    assert isinstance(error, str)
    assert REFUSED[name][1] in error
    np.testing.assert_allclose(after, expected(PNG), atol=1e-6)


def test_flipped_bits_are_refused_or_harmless_in_png_and_never_end_the_server(serve):
    results = serve([file for files in FLIPPED.values() for file in files] + [PNG])
    np.testing.assert_allclose(results[-1], expected(PNG), atol=1e-6)
    for result in results:
        assert isinstance(result, str) or np.isclose(np.linalg.norm(result), 1)
    found = [result for result in results[: len(FLIPPED["png"])] if not isinstance(result, str)]
    for result in found:
        np.testing.assert_allclose(result, expected(PNG), atol=1e-6)
