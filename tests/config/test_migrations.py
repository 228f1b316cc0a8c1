"""Flags of a run say their format; those of earlier formats are brought forward, those of later ones refused."""

import pytest

from tfface.config import migrations, train_config, train_flags


def write(path, *lines):
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_format_is_written_and_read(tmp_path):
    settings = train_config.TrainConfig(run_dir="r", train_data="t")
    train_flags.write_flagfile(settings, tmp_path / "flags.txt")
    assert (tmp_path / "flags.txt").read_text().startswith(f"# tfface run, format {migrations.FORMAT}\n--run_dir=r\n")
    assert train_flags.read_flagfile(tmp_path / "flags.txt") == settings


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
        assert train_flags.read_flagfile(path).batch_size == 4000


def test_later_formats_are_refused(tmp_path):
    path = write(tmp_path / "flags.txt", "# tfface run, format 1000", "--run_dir=r", "--train_data=t", "--new=1")
    with pytest.raises(ValueError, match="flags.txt: a run of format 1000, of a later release .* up to 3"):
        train_flags.read_flagfile(path)


OLD = [
    "--backbone=MobileFaceNet",
    "--width=0.5",
    "--head=ArcFace",
    "--scale=32.0",
    "--margin=0.3",
    "--broadface_queue=16",
    "--nobroadface_compensate",
    "--optimizer=sgd",
    "--momentum=0.8",
    "--decay_form=constant",
    "--schedule=steps",
    "--decay_epochs=2.0,3.0",
    "--augment=crop,low_resolution:0.5",
    "--epochs=4.0",
]


@pytest.mark.parametrize("header", ["", "# tfface run, format 1"])
def test_arguments_of_components_become_calls(header, tmp_path):
    settings = train_flags.read_flagfile(write(tmp_path / "flags.txt", header, "--run_dir=r", "--train_data=t", *OLD))
    assert settings == train_config.TrainConfig(
        run_dir="r",
        train_data="t",
        backbone="MobileFaceNet(width=0.5)",
        head="BroadFace(ArcFace(scale=32.0, margin=0.3), queue_size=16, compensate=False)",
        optimizer="SGD(momentum=0.8, decay_form='constant')",
        schedule="Steps(epochs=[2.0, 3.0])",
        augment=["Crop", "LowResolution(probability=0.5)"],
        epochs=4.0,
    )


def test_defaults_of_the_earlier_release_hold(tmp_path):
    lines = "# tfface run, format 1", "--run_dir=r", "--train_data=t", "--head=CosFace", "--broadface_queue=0"
    settings = train_flags.read_flagfile(write(tmp_path / "flags.txt", *lines))
    assert settings.optimizer == "SGD(momentum=0.9, decay_form='decoupled')"
    assert (settings.backbone, settings.head, settings.schedule) == ("MobileFaceNet", "CosFace", "Cosine")


@pytest.mark.parametrize("header", ["", "# tfface run, format 1", "# tfface run, format 2"])
def test_a_run_keeps_the_shuffle_buffer_that_it_began_with(header, tmp_path):
    lines = "--run_dir=r", "--train_data=t", "--shuffle_buffer=500"
    settings = train_flags.read_flagfile(write(tmp_path / "flags.txt", header, *lines))
    assert settings == train_config.TrainConfig(run_dir="r", train_data="t", shuffle="Buffer(size=500)")


def test_flags_that_cannot_be_brought_forward_are_named(tmp_path):
    path = write(tmp_path / "flags.txt", "# tfface run, format 1", "--run_dir=r", "--train_data=t", "--scale=much")
    with pytest.raises(ValueError, match="flags.txt: a flag of an earlier release cannot be read: .*much"):
        train_flags.read_flagfile(path)
