"""The settings of a run as flags of the command line, and as the flagfile of its folder."""

import dataclasses

from absl import flags

from tfface import files, flagfiles
from tfface.config import migrations
from tfface.config.train_config import TrainConfig

FLAGFILE = "flags.txt"  # Name of the settings in the folder of their run.

_DEFINE = {
    str: flags.DEFINE_string,
    bool: flags.DEFINE_bool,
    list: flags.DEFINE_list,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
}

# The first setting of each topic, in the order of `TrainConfig`.
_TOPICS = {
    "run_dir": "run",
    "train_data": "data",
    "backbone": "model",
    "head": "head and initial weights",
    "batch_size": "optimisation",
    "mirror": "augmentation and shuffling",
    "strategy": "devices and machines",
    "seed": "reproducibility, logs and checkpoints",
}


def topics() -> dict[str, list[str]]:
    """Returns the names of the settings by topic, as `--help` lists them."""
    found, topic = {}, ""
    for field in dataclasses.fields(TrainConfig):
        topic = _TOPICS.get(field.name, topic)
        found.setdefault(topic, []).append(field.name)
    return found


def define_flags(flag_values=flags.FLAGS):
    """Defines one absl flag for each field of `TrainConfig`, and those that say what has taken a flag's place."""
    for field in dataclasses.fields(TrainConfig):
        default, choices = field.default, field.metadata["choices"]
        options = {"help": field.metadata["help"], "flag_values": flag_values}
        if choices:
            flags.DEFINE_enum(field.name, default, choices, **options)
        elif field.metadata["repeated"] and field.type is list:
            flags.DEFINE_multi_string(field.name, list(default), **options)
        else:
            default = list(default) if isinstance(default, tuple) else default
            _DEFINE[field.type](field.name, default, **options, **field.metadata["bounds"])
    for name, successor in migrations.REPLACED.items():
        flags.DEFINE(_Replaced(name, successor), name, None, f"Replaced by {successor}.", flag_values=flag_values)


class _Replaced(flags.ArgumentParser):
    """Refuses a flag of an earlier release."""

    def __init__(self, name, successor):
        self.name, self.successor = name, successor

    def parse(self, argument):
        raise ValueError(f"--{self.name} is replaced by {self.successor}.")


def from_flags(flag_values=flags.FLAGS, **instead):
    """Makes a `TrainConfig` of parsed flags, some of whose values `instead` replaces."""
    values = {field.name: flag_values[field.name].value for field in dataclasses.fields(TrainConfig)}
    return TrainConfig(**{**values, **instead})


def write_flagfile(config, path):
    """Writes the settings as a flagfile that reruns them; settings without a value are left out."""
    lines = [migrations.header()]
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if "once" in field.metadata["marks"] or value is None:
            continue
        if field.metadata["repeated"] and field.type is list:
            lines += [f"--{field.name}={each}" for each in value]
        elif field.type is bool:
            lines.append(f"--{field.name}" if value else f"--no{field.name}")
        else:
            lines.append(f"--{field.name}={','.join(map(str, value)) if field.type is list else value}")
    files.write_atomically(path, ("\n".join(lines) + "\n").encode())


def read_flagfile(path):
    """Reads the flags of a run, of this release or an earlier one, and nothing that they name: it includes no file.

    Raises:
      ValueError: the file does not exist, is of a later release, or holds anything but a setting a line, or a bad
        value.
    """
    try:
        lines = migrations.upgrade(flagfiles.read_lines(path), path)
    except FileNotFoundError:
        raise ValueError(f"{path}: no such flagfile.") from None
    values = flags.FlagValues()
    define_flags(values)
    known = {name for field in dataclasses.fields(TrainConfig) for name in (field.name, f"no{field.name}")}
    for line in lines:
        if flagfiles.flag_name(line) not in known:
            raise ValueError(
                f"{path}: expected a setting of a run, such as --epochs=20, in each line, got {line[:200]!r}."
            )
    try:
        # A value that has a line of its own is not one of its setting.
        if rest := values(["train", *lines])[1:]:
            raise ValueError(f"{path}: expected --name=value in each line, got {rest[0][:200]!r}.")
    except flags.Error as error:
        raise ValueError(f"{path}: {error}") from None
    try:
        return from_flags(values)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
