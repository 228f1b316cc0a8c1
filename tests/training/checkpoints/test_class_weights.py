"""Class weights read back from checkpoints of heads of different forms."""

import keras
import numpy as np
import pytest

from tfface import heads
from tfface.training import FaceModel, read_class_weights
from tfface.training.checkpoints.saving import Checkpoints
from tfface.training.checkpoints.warm_start import write_identities


def model(head):
    encoder = keras.Sequential([keras.Input([4, 4, 3]), keras.layers.Flatten(), keras.layers.Dense(6)])
    built = FaceModel(encoder, head)
    built.compile(optimizer=keras.optimizers.SGD(0.1, momentum=0.9))
    built.optimizer.build(built.trainable_variables)
    return built


def broadface(num_classes):
    return heads.BroadFace(heads.ArcFace(num_classes), queue_size=num_classes)


@pytest.mark.parametrize(
    "make", [heads.ArcFace, heads.Softmax, heads.CurricularFace, heads.SubCenterArcFace, broadface]
)
def test_weights_are_those_of_the_newest_checkpoint(tmp_path, make):
    trained = model(make(5))
    write_identities(tmp_path, ["a", "b", "ç", "d", "e"])
    checkpoints = Checkpoints(tmp_path / "checkpoints", trained)
    for step in (9, 10):
        variable = trained.head.class_weights
        weights = np.random.default_rng(step).normal(size=variable.shape).astype(np.float32)
        variable.assign(weights)
        checkpoints.save(step)
    names, found = read_class_weights(tmp_path)
    assert names == ["a", "b", "ç", "d", "e"]
    np.testing.assert_array_equal(found, weights)


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match="checkpoints: no checkpoint"):
        read_class_weights(tmp_path)
    Checkpoints(tmp_path / "checkpoints", model(heads.ArcFace(5))).save(1)
    for content in (None, "[1, 2]", "{}", "["):
        if content is not None:
            (tmp_path / "identities.json").write_text(content)
        with pytest.raises(ValueError, match="identities.json: .*(cannot be read|expected|not JSON)"):
            read_class_weights(tmp_path)
