"""The trainings that the comment of a paper's flagfile lists: a row each, with the flags that are its own."""

import dataclasses
import re
import shlex

from absl import flags

from tfface import flagfiles
from tfface.config import migrations, train_config, train_flags

_ROWS = re.compile(r"^#   ROW.* FLAGS\n((?:#   .+\n)+)", re.MULTILINE)
_PROTOCOLS = re.compile(r"--flagfile=(protocols/\w+\.flags)")


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One training of a paper.

    Attributes:
      flagfile: name of the packaged flagfile, such as "arcface/table2.flags".
      row: name of the row; "" if the file is a single training.
      flags: the row's own flags, which follow those of the file.
    """

    flagfile: str
    row: str = ""
    flags: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The row, or the name of the file."""
        return self.row or self.flagfile.rpartition("/")[2].removesuffix(".flags")

    @property
    def key(self) -> str:
        """FLAGFILE:ROW or FLAGFILE, as in the file of the papers' numbers."""
        return f"{self.flagfile}:{self.row}" if self.row else self.flagfile

    @property
    def arguments(self) -> list[str]:
        """The arguments of `tfface train` that make it."""
        return [f"--flagfile={self.flagfile}", *self.flags]


def read_experiments(flagfile: str) -> list[Experiment]:
    """Reads the rows that the comment of a packaged flagfile lists; without a list, the file is the one training.

    Args:
      flagfile: its name, such as "arcface/table2.flags".
    """
    found = _ROWS.search(comment(flagfile))
    if not found:
        return [Experiment(flagfile)]
    experiments = []
    for line in found[1].splitlines():
        start = line.find(" --")
        own = line[start:] if start >= 0 else ""
        experiments.append(Experiment(flagfile, line.split()[1], tuple(shlex.split(own))))
    return experiments


def title(flagfile: str) -> str:
    """Returns what a packaged flagfile is of: the first sentence of its comment, without the name of the table."""
    paragraph = comment(flagfile).partition("\n#\n")[0].replace("\n# ", " ").removeprefix("# ")
    sentence = re.split(r"\. |\.$|; ", paragraph)[0]
    return sentence.partition(": ")[2] or sentence


def protocols_in(flagfile: str) -> list[str]:
    """Returns the flagfiles of evaluation that the comment of a packaged flagfile names."""
    return list(dict.fromkeys(_PROTOCOLS.findall(comment(flagfile))))


def settings_of(arguments: list[str]) -> train_config.TrainConfig:
    """Returns the settings that arguments of `tfface train` give.

    Raises:
      ValueError: a flag is unknown or has a bad value.
    """
    values = flags.FlagValues()
    train_flags.define_flags(values)
    try:
        rest = values(flagfiles.expand(["train", *arguments], migrations.upgrade))[1:]
    except flags.Error as error:
        raise ValueError(f"{error}.") from None
    if rest:
        raise ValueError(f"expected flags of tfface train, such as --micro_batches=2; got {rest[0]!r}.")
    return train_flags.from_flags(values)


def comment(flagfile: str) -> str:
    """Returns the comment of a packaged flagfile, with continued lines in one."""
    lines = flagfiles.read_lines(flagfiles.packaged()[flagfile])
    text = "".join(f"{line}\n" for line in lines if line.startswith("#"))
    return re.sub(r"\\\n# *", "", text)
