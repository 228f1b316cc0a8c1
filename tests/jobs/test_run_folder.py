"""A run folder belongs to one training, and only settings that do not move the loss may change when it resumes."""

import dataclasses

import pytest

from tfface.config import train_config
from tfface.jobs.run_folder import owned_run_folder

# Written out again here, so that no mark is added or lost by accident.
ONCE = {"resume", "overwrite", "strict_resume", "steal_lock"}
FREE = {
    *("skip_bad", "allow_missing"),
    *("run_dir", "log_every", "verify_every", "save_every", "keep", "heldout_data", "heldout_pairs", "protocol"),
    *("strategy", "replicas", "partition", "init_from", "init_head", "wait_for_workers"),
}
LOCAL = {"run_dir", "wait_for_workers", "train_data", "heldout_data", "protocol", "init_from"}


@pytest.fixture
def settings(tmp_path):
    settings = train_config.TrainConfig(run_dir=str(tmp_path / "run"), train_data="synthetic")
    train_config.write_flagfile(settings, tmp_path / "run" / train_config.FLAGFILE)
    return settings


def test_marks():
    assert train_config.marked("once") == ONCE
    assert train_config.marked("free") == FREE | ONCE
    assert train_config.marked("local") == LOCAL | ONCE


@pytest.mark.parametrize("change", [{"save_every": 1000}, {"keep": 3}, {"skip_bad": True}, {"strategy": "mirrored"}])
def test_a_free_setting_may_change(settings, change):
    with owned_run_folder(dataclasses.replace(settings, resume=True, **change)):
        pass


@pytest.mark.parametrize("change", [{"seed": 1}, {"train_data": "other"}, {"batch_size": 64}, {"epochs": 3.0}])
def test_other_settings_may_not(settings, change):
    resumed = dataclasses.replace(settings, resume=True, **change)
    message = rf"cannot be resumed with other settings: --{next(iter(change))} \(was"
    with pytest.raises(ValueError, match=message), owned_run_folder(resumed):
        pass


def test_a_run_is_not_lost_by_accident(settings):
    message = "already holds a run: --resume continues it, --overwrite starts again"
    with pytest.raises(ValueError, match=message), owned_run_folder(settings):
        pass


def test_overwriting_removes_the_old_run(settings, tmp_path):
    (tmp_path / "run" / "checkpoints").mkdir()
    with owned_run_folder(dataclasses.replace(settings, overwrite=True)):
        assert not (tmp_path / "run" / "checkpoints").exists()
        assert not (tmp_path / "run" / train_config.FLAGFILE).exists()
        with pytest.raises(ValueError, match="run"), owned_run_folder(settings):
            pass
