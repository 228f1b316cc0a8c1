"""Fixtures shared by all tests."""

import os
import pathlib

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

ROOT = pathlib.Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data():
    """Folder of real faces that tests may use; a test that needs it is skipped where it is absent."""
    folder = pathlib.Path(os.environ.get("TFFACE_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real test data is absent ({folder}); TFFACE_TEST_DATA names another place")
    return folder
