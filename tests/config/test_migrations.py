"""Flags of a run say their format; those of earlier formats are brought forward, those of later ones refused."""

import pytest

from tfface.config import migrations, train_config


def write(path, *lines):
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_format_is_written_and_read(tmp_path):
    settings = train_config.TrainConfig(run_dir="r", train_data="t")
    train_config.write_flagfile(settings, tmp_path / "flags.txt")
    assert (tmp_path / "flags.txt").read_text().startswith(f"# tfface run, format {migrations.FORMAT}\n--run_dir=r\n")
    assert train_config.read_flagfile(tmp_path / "flags.txt") == settings


def test_each_migration_is_applied_once_and_in_order(tmp_path, monkeypatch):
    """Two formats ago a flag had another name, one format ago it counted thousands."""
    monkeypatch.setattr(migrations, "FORMAT", 3)
    steps = {
        0: lambda flags: [flag.replace("--batch=", "--batch_thousands=") for flag in flags],
        2: lambda flags: [
            flag.replace("--batch_thousands=", "--batch_size=") + "000" * ("batch" in flag) for flag in flags
        ],
    }
    monkeypatch.setattr(migrations, "MIGRATIONS", steps)
    for header, flag in {
        "// Of no format.": "--batch=4",
        "# tfface run, format 1": "--batch_thousands=4",
        "# tfface run, format 2, and a remark": "--batch_thousands=4",
        "# tfface run, format 3": "--batch_size=4000",
    }.items():
        path = write(tmp_path / "flags.txt", header, "--run_dir=r", "", "--train_data=t", flag)
        assert train_config.read_flagfile(path).batch_size == 4000


def test_later_formats_are_refused(tmp_path):
    path = write(tmp_path / "flags.txt", "# tfface run, format 1000", "--run_dir=r", "--train_data=t", "--new=1")
    with pytest.raises(ValueError, match="flags.txt: a run of format 1000, of a later release .* up to 1"):
        train_config.read_flagfile(path)
