"""The check of an export finds damaged exports, exports of other weights, and exports that compute otherwise."""

import shutil

import keras
import numpy as np
import pytest

from tfface.export import check, check_export
from tfface.export.check import probe_images


def unit(rows):
    rows = np.asarray(rows, np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_measures_how_far_an_export_is_from_its_network(encoder, export):
    agreement = check_export(export, encoder)
    assert agreement.images == 8
    assert 0 <= agreement.largest_difference <= 1e-5
    assert agreement.smallest_cosine == pytest.approx(1, abs=1e-6)


def test_probes_are_different_faces():
    probes = probe_images((56, 48))
    assert probes.shape == (8, 56, 48, 3) and probes.dtype == np.float32
    assert -1.001 < probes.min() < -0.5 and 0.5 < probes.max() < 1.001
    assert len(np.unique(probes.reshape(8, -1), axis=0)) == 8


def test_an_export_of_other_weights_is_refused_with_the_figures(encoder, export, images):
    other = keras.models.clone_model(encoder)
    other.set_weights(encoder.get_weights())
    other.layers[-1].kernel.assign(other.layers[-1].kernel * np.linspace(1, 1.05, 16))
    difference = np.abs(unit(encoder(images, training=False)) - unit(other(images, training=False))).max()
    with pytest.raises(ValueError, match=f"differ by up to {difference:.2g}, .* difference of at most 0.0001"):
        check_export(export, other, images)


def turned(vectors, angle):
    """Unit vectors [N, D] turned by an angle towards their own reversal."""
    aside = vectors[:, ::-1] - np.sum(vectors * vectors[:, ::-1], axis=1, keepdims=True) * vectors
    return np.cos(angle) * vectors + np.sin(angle) * unit(aside)


@pytest.mark.parametrize(
    "quantize, allowed, refused",
    [(None, 1e-4, 4e-4), ("float16", 1e-3, 8e-3), ("int8", np.arccos(0.9905), np.arccos(0.9895))],
)
def test_bounds_of_each_precision(encoder, images, monkeypatch, quantize, allowed, refused):
    vectors = unit(encoder(images, training=False))
    monkeypatch.setattr(check, "_embed_in_fresh_process", lambda *_: turned(vectors, allowed))
    agreement = check_export("export", encoder, images, quantize=quantize)
    assert agreement.smallest_cosine == pytest.approx(np.cos(allowed), abs=1e-6)
    for wrong in (turned(vectors, refused), vectors * np.nan, vectors[:, :8], vectors[:4]):
        monkeypatch.setattr(check, "_embed_in_fresh_process", lambda *_, wrong=wrong: wrong)
        with pytest.raises(ValueError, match="embeddings"):
            check_export("export", encoder, images, quantize=quantize)


def test_a_network_of_damaged_weights_is_refused_before_its_export_is_loaded(encoder):
    other = keras.models.clone_model(encoder)
    other.layers[-1].bias.assign([np.nan] + [0.0] * 15)
    with pytest.raises(ValueError, match=r"embeddings of 8 of 8 images are not finite, the first of \['face 0', "):
        check_export("nowhere", other)


def test_a_damaged_export_is_refused(encoder, export, tmp_path):
    shutil.copytree(export, tmp_path / "1")
    (weights,) = (tmp_path / "1" / "variables").glob("*.data-*")
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ValueError, match="does not run in a fresh process.*[Cc]hecksum"):
        check_export(tmp_path / "1", encoder)
