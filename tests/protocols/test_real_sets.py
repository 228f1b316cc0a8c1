"""Published sets and lists as they are distributed: CFP, LFW's official list with drawn images, and Omniglot."""

import zipfile
import zlib

import keras
import numpy as np
import pytest
from PIL import Image

from tfface import jobs
from tfface.data import read_pairs

pytestmark = pytest.mark.slow  # Thousands of images.


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A network of 28 pixels with fixed random weights."""
    path = tmp_path_factory.mktemp("model") / "encoder.keras"
    keras.utils.set_random_seed(0)
    layers = [keras.Input((28, 28, 3)), keras.layers.Flatten(), keras.layers.Dense(32, use_bias=False)]
    keras.Sequential(layers).save(path)
    return path


def test_cfp_is_read_whole(model, shared_data, tmp_path):
    calls = [f"CFP(root='{shared_data}/cfp112', split='{split}')" for split in ("FF", "FP")]
    results = jobs.evaluate_protocols(model, calls, tmp_path)
    for result, name in zip(results, ("CFP-FF", "CFP-FP"), strict=True):
        assert (result.name, str(result.completeness)) == (name, "all 7000 pairs")
        assert len(result.genuine_scores) == len(result.impostor_scores) == 3500
        assert len(result.accuracy.per_fold) == 10 and 0.5 < result.accuracy.mean < 0.8
    lists = [read_pairs(shared_data / "cfp112/Protocol/Split" / split) for split in ("FF", "FP")]
    images = np.unique(np.concatenate([[pairs.left, pairs.right] for pairs in lists]))
    assert f"{len(images)} images of 112 x 112 pixels" in (tmp_path / "results.json").read_text()


def test_lfw_by_its_official_list(model, shared_data, tmp_path):
    path = shared_data / "protocols" / "lfw_pairs.txt"
    pairs = read_pairs(path)
    people = {}
    for key in np.unique([pairs.left, pairs.right]).tolist():
        name = key.split("/")[0]
        person = people.setdefault(name, np.random.default_rng(len(people)).uniform(60, 190, (7, 7, 3)))
        drawn = person + np.random.default_rng(zlib.crc32(key.encode())).normal(0, 40, person.shape)
        (tmp_path / "lfw" / name).mkdir(parents=True, exist_ok=True)
        pixels = Image.fromarray(np.uint8(np.clip(drawn, 0, 255))).resize((112, 112))
        pixels.save(tmp_path / "lfw" / key, quality=90)
    (result,) = jobs.evaluate_protocols(model, [f"LFW(root='{tmp_path}/lfw', pairs='{path}')"], tmp_path / "out")
    assert str(result.completeness) == "all 6000 pairs" and len(result.accuracy.per_fold) == 10
    assert 0.6 < result.accuracy.mean < 1


def test_omniglot(model, shared_data, tmp_path):
    with zipfile.ZipFile(shared_data / "omniglot_background.zip") as file:
        drawings = [name for name in file.namelist() if "/Greek/" in name and name.endswith(".png")]
        file.extractall(tmp_path, drawings)
    (alphabet,) = tmp_path.glob("*/Greek")
    (result,) = jobs.evaluate_protocols(model, [f"Retrieval(records='{alphabet}', k=[1, 5])"], tmp_path / "out")
    assert result.name == "Greek" and result.counts["queries"] == len(drawings) == 24 * 20
    # Chance is 0.04.
    assert 0.2 < result.rates["recall@1"] < result.rates["recall@5"]
