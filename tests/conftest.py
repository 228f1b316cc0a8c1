"""Fixtures shared by all tests."""

import gc
import os
import pathlib

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# On a GPU this process would take all of its memory, and those that tests start would find none.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")

import tensorflow as tf  # noqa: E402

# Before anything uses TensorFlow: the replicas of tests of tf.distribute are logical devices of the CPU.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 4
)

ROOT = pathlib.Path(__file__).resolve().parents[1]


# At the end one process would be left alone with a file that takes minutes: these folders come first.
_LONG = [ROOT / "tests" / name for name in ("", "conformance", "golden", "backbones", "training", "docs")]


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: _LONG.index(item.path.parent) if item.path.parent in _LONG else len(_LONG))


@pytest.fixture(scope="module", autouse=True)
def objects_of_other_modules_are_left_alone():
    """Millions of objects live on after a module: every later collection of garbage would look at all of them."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def shared_data():
    """Folder of real faces that tests may use; a test that needs it is skipped where it is absent."""
    folder = pathlib.Path(os.environ.get("TFFACE_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real test data is absent ({folder}); TFFACE_TEST_DATA names another place")
    return folder


@pytest.fixture
def mirrored():
    """Function from a number of replicas to a strategy over as many logical devices."""

    def strategy(replicas):
        # TensorFlow's collective operations allow one strategy a process only.
        devices = [f"CPU:{number}" for number in range(replicas)]
        return tf.distribute.MirroredStrategy(devices, cross_device_ops=tf.distribute.ReductionToOneDevice())

    return strategy
