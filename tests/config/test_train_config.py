"""Settings: as flags, as a flagfile, and refused when they make no sense."""

import pytest
from absl import flags

from tfface.config import migrations, train_flags
from tfface.config.train_config import TrainConfig


def settings(**changes):
    return TrainConfig(**{"run_dir": "runs/x", "train_data": "synthetic", **changes})


def test_flagfile_round_trip(tmp_path):
    before = settings(
        protocol=["a/FF", "a/FP"],
        head="BroadFace(ArcFace(margin=0.3), queue_size=8)",
        loss=["IntraLoss(weight=0.5)", "TripletLoss(mining='batch_all')"],
        mirror=False,
        schedule="Steps(epochs=[1.5, 3])",
        heldout_data="h",
    )
    train_flags.write_flagfile(before, tmp_path / "flags.txt")
    assert train_flags.read_flagfile(tmp_path / "flags.txt") == before


def test_flags_have_the_defaults_of_the_dataclass():
    values = flags.FlagValues()
    train_flags.define_flags(values)
    values(["train", "--run_dir=runs/x", "--train_data=synthetic"])
    assert train_flags.from_flags(values) == settings()


def test_flags_of_earlier_releases_name_their_successor():
    values = flags.FlagValues()
    train_flags.define_flags(values)
    for name in migrations.REPLACED:
        with pytest.raises(flags.IllegalFlagValueError, match=f"--{name} is replaced by .*--[a-z]+=[A-Z]"):
            values(["train", f"--{name}=1"])


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"head": "ArcFase"}, "head must be one of .* got 'ArcFase'. Did you mean ArcFace?"),
        ({"loss": ["IntraLoss(weight=1"]}, "IntraLoss.*: expected a name or a call"),
        ({"batch_size": 1}, r"batch_size must be in \[2, inf\]; got 1"),
        ({"learning_rate": float("nan")}, "learning_rate .* got nan"),
        ({"run_dir": None}, "--run_dir is required"),
        ({"train_data": ""}, "--train_data is required"),
        ({"save_every": 30, "log_every": 20}, "multiple of log_every.* got 30 and 20"),
    ],
)
def test_senseless_settings_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        settings(**changes)


def test_bad_flagfiles_are_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match="nowhere.txt: no such flagfile"):
        train_flags.read_flagfile(tmp_path / "nowhere.txt")
    (tmp_path / "flags.txt").write_text("--run_dir=r\n--train_data=t\n--no_such_flag=1\n")
    with pytest.raises(ValueError, match="flags.txt: .*no_such_flag"):
        train_flags.read_flagfile(tmp_path / "flags.txt")
