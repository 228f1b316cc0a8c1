"""Settings: as flags, as a flagfile, and refused when they make no sense."""

import pytest
from absl import flags
from components import HEADS

from tfface import backbones
from tfface.config import train_config
from tfface.config.train_config import TrainConfig
from tfface.optimizers.row_sgd import DECAY_FORMS


def settings(**changes):
    return TrainConfig(**{"run_dir": "runs/x", "train_data": "synthetic", **changes})


def test_flagfile_round_trip(tmp_path):
    before = settings(
        protocol=["a/FF", "a/FP"], margin=0.3, mirror=False, decay_epochs=[1.5, 3], schedule="steps", heldout_data="h"
    )
    train_config.write_flagfile(before, tmp_path / "flags.txt")
    assert train_config.read_flagfile(tmp_path / "flags.txt") == before


def test_flags_have_the_defaults_of_the_dataclass():
    values = flags.FlagValues()
    train_config.define_flags(values)
    values(["train", "--run_dir=runs/x", "--train_data=synthetic"])
    assert train_config.from_flags(values) == settings()


def test_choices_are_all_there_is():
    fields = TrainConfig.__dataclass_fields__
    families = {"IResNet", "SFNet", "ViT", "synchronize_batch_norm"}
    assert set(fields["backbone"].metadata["choices"]) == set(backbones.__all__) - families
    assert fields["decay_form"].metadata["choices"] == DECAY_FORMS
    assert list(fields["head"].metadata["choices"]) == HEADS


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"head": "ArcFase"}, "head must be one of .* got 'ArcFase'"),
        ({"batch_size": 1}, r"batch_size must be in \[2, inf\]; got 1"),
        ({"momentum": 1.5}, r"momentum must be in \[0.0, 1.0\]; got 1.5"),
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
        train_config.read_flagfile(tmp_path / "nowhere.txt")
    (tmp_path / "flags.txt").write_text("--run_dir=r\n--train_data=t\n--no_such_flag=1\n")
    with pytest.raises(ValueError, match="flags.txt: .*no_such_flag"):
        train_config.read_flagfile(tmp_path / "flags.txt")
