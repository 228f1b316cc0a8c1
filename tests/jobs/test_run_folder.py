"""A run folder belongs to one training, and only settings that do not move the loss may change when it resumes."""

import dataclasses
import hashlib
import shutil

import pytest

from tfface.config import train_config, train_flags
from tfface.data.dataset_content import DatasetContent
from tfface.data.records import DatasetInfo, Shard
from tfface.jobs.run_folder import owned_run_folder, write_run

# Written out again here, so that no mark is added or lost by accident.
ONCE = {"resume", "overwrite", "strict_resume", "steal_lock"}
FREE = {
    *("skip_bad", "allow_missing", "callback", "callback_images"),
    *("run_dir", "log_every", "verify_every", "save_every", "keep", "heldout_data", "heldout_pairs", "protocol"),
    *("train_data", "strategy", "replicas", "partition", "init_from", "init_head", "wait_for_workers"),
}
LOCAL = {"run_dir", "wait_for_workers", "train_data", "heldout_data", "protocol", "init_from"}


def dataset(folder, identities=("anna", "boris", "carla"), name="faces", images=b"images"):
    """Writes a dataset of two shards that are not read; returns its path."""
    folder.mkdir()
    shards = []
    for number in range(2):
        shard = folder / f"{name}-{number:05d}-of-00002.tfrecord"
        shard.write_bytes(images + bytes([number]))
        shards.append(Shard(shard.name, 6, hashlib.sha256(shard.read_bytes()).hexdigest()))
    info = DatasetInfo(name, 12, len(identities), None, 0, tuple(identities), tuple(shards))
    (folder / "dataset.json").write_text(info.to_json())
    return str(folder)


@pytest.fixture
def settings(tmp_path):
    records = dataset(tmp_path / "records")
    settings = train_config.TrainConfig(run_dir=str(tmp_path / "run"), train_data=records)
    write_run(settings, DatasetContent.load(records))
    return settings


def test_marks():
    assert train_config.marked("once") == ONCE
    assert train_config.marked("free") == FREE | ONCE
    assert train_config.marked("local") == LOCAL | ONCE


@pytest.mark.parametrize("change", [{"save_every": 1000}, {"keep": 3}, {"skip_bad": True}, {"strategy": "mirrored"}])
def test_a_free_setting_may_change(settings, change):
    with owned_run_folder(dataclasses.replace(settings, resume=True, **change)):
        pass


@pytest.mark.parametrize("change", [{"seed": 1}, {"batch_size": 64}, {"epochs": 3.0}])
def test_other_settings_may_not(settings, change):
    resumed = dataclasses.replace(settings, resume=True, **change)
    message = rf"cannot be resumed with other settings: --{next(iter(change))} \(was"
    with pytest.raises(ValueError, match=message), owned_run_folder(resumed):
        pass


def test_who_wants_more_epochs_is_told_the_way(settings):
    message = r"--epochs \(was 20.0, now 40.0\). --init_from=\S+run with a new --run_dir begins with the weights"
    with (
        pytest.raises(ValueError, match=message),
        owned_run_folder(dataclasses.replace(settings, resume=True, epochs=40.0)),
    ):
        pass


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            {"identities": ("anna", "dora", "emil")},
            "2 of its 3 identities are others, such as 'dora', 'emil'",
        ),
        ({"identities": ("anna", "boris")}, "only 2 of the 3 identities"),
        ({"identities": ("boris", "anna", "carla")}, "the same identities under other labels"),
        ({"images": b"others"}, "the same identities, but 2 of its 2 shards hold other records"),
    ],
)
@pytest.mark.parametrize("elsewhere", [False, True])
def test_other_training_data_are_refused(settings, tmp_path, changed, words, elsewhere):
    if not elsewhere:
        shutil.rmtree(settings.train_data)
    records = dataset(tmp_path / ("other" if elsewhere else "records"), **changed)
    resumed = dataclasses.replace(settings, resume=True, train_data=records)
    message = rf"cannot be resumed with other training data: .*{words}. --init_from=\S+run with a new --run_dir"
    with pytest.raises(ValueError, match=message), owned_run_folder(resumed):
        pass


@pytest.mark.parametrize("spelling", ["elsewhere", "name", "glob", "slash"])
def test_equal_training_data_are_accepted_under_any_path(settings, tmp_path, spelling):
    records = {
        "elsewhere": lambda: shutil.move(settings.train_data, tmp_path / "moved"),
        "name": lambda: dataset(tmp_path / "renamed", name="other"),
        "glob": lambda: f"{settings.train_data}/*.tfrecord",
        "slash": lambda: f"{settings.train_data}/",
    }[spelling]()
    with owned_run_folder(dataclasses.replace(settings, resume=True, train_data=str(records))):
        pass


def test_a_run_without_checksums_is_compared_by_identities_and_spelling(settings, tmp_path):
    """Release 0.1 wrote none."""
    (tmp_path / "run" / "train_data.json").unlink()
    with owned_run_folder(dataclasses.replace(settings, resume=True)):
        pass
    copy = dataclasses.replace(settings, resume=True, train_data=dataset(tmp_path / "copy"))
    with pytest.raises(ValueError, match=r"other settings: --train_data \(was"), owned_run_folder(copy):
        pass
    shutil.rmtree(settings.train_data)
    dataset(tmp_path / "records", identities=("anna", "boris", "dora"))
    with (
        pytest.raises(ValueError, match="such as 'dora'"),
        owned_run_folder(dataclasses.replace(settings, resume=True)),
    ):
        pass


def test_a_run_is_not_lost_by_accident(settings):
    message = "already holds a run: --resume continues it, --overwrite starts again"
    with pytest.raises(ValueError, match=message), owned_run_folder(settings):
        pass


def test_overwriting_removes_the_old_run(settings, tmp_path):
    (tmp_path / "run" / "checkpoints").mkdir()
    with owned_run_folder(dataclasses.replace(settings, overwrite=True)):
        assert not (tmp_path / "run" / "checkpoints").exists()
        assert not (tmp_path / "run" / train_flags.FLAGFILE).exists()
        with pytest.raises(ValueError, match="run"), owned_run_folder(settings):
            pass
