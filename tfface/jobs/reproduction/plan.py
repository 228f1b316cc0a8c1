"""The plan of a reproduction: a training for each row and seed, as commands, and what differs from the paper."""

import dataclasses
import glob
import os
import pathlib
from collections.abc import Sequence

from tfface import flagfiles
from tfface.config import train_config, train_flags
from tfface.jobs.reproduction import small
from tfface.jobs.reproduction.experiments import Experiment, settings_of
from tfface.jobs.reproduction.tables import Table, evaluations

# Settings that no result depends on, or that each run has its own of.
_NO_DIFFERENCE = {"run_dir", "seed", "resume", "log_every", "save_every", "verify_every", "keep", "shuffle"}
_OF_SMALL_SET = {"train_data", "heldout_data", "heldout_pairs"}  # What the page says of the data and the evaluation.


@dataclasses.dataclass(frozen=True)
class Options:
    """The user's choices.

    Attributes:
      data: training records, or what `small.open_small_set` takes; None: those that the flagfiles name.
      output: folder.
      scale: "paper" or "small".
      rows: names of the rows to run; empty: all.
      seeds: int, runs of each row.
      steps: training steps of each run; None: the paper's, or those of the small scale.
      train_flags: further flags of `tfface train`.
    """

    data: str | None
    output: pathlib.Path
    scale: str = "paper"
    rows: Sequence[str] = ()
    seeds: int = 3
    steps: int | None = None
    train_flags: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Run:
    """One training and its evaluation.

    Attributes:
      experiment: the row.
      seed: int.
      folder: run folder.
      settings: of the training.
      train: arguments of `tfface`.
      evaluate: dict from the folder of an evaluation to the arguments of `tfface`; empty: training verifies.
    """

    experiment: Experiment
    seed: int
    folder: pathlib.Path
    settings: train_config.TrainConfig
    train: tuple[str, ...]
    evaluate: dict[pathlib.Path, tuple[str, ...]]

    @property
    def name(self) -> str:
        return f"{self.experiment.name}, seed {self.seed}"

    @property
    def steps(self) -> int:
        return self.settings.steps or 0

    @property
    def results(self) -> list[pathlib.Path]:
        """The folders whose `results.json` have its numbers; a training that verifies has its own."""
        return [folder for folder in self.evaluate or [self.folder] if (folder / "results.json").is_file()]

    @property
    def trained(self) -> bool:
        # A training ends with its export, which appears as a whole.
        return (self.folder / "export" / "1").is_dir()

    @property
    def finished(self) -> bool:
        return self.trained and all(map(_evaluated, self.evaluate))

    def commands(self) -> list[list[str]]:
        """Returns the commands that are left to run, each as arguments of `tfface`."""
        resume = ["--resume"] if (self.folder / train_flags.FLAGFILE).is_file() else []
        left = [] if self.trained else [[*self.train, *resume]]
        return left + [[*arguments] for folder, arguments in self.evaluate.items() if not _evaluated(folder)]


@dataclasses.dataclass(frozen=True)
class Plan:
    """All of a reproduction.

    Attributes:
      table: `Table`.
      options: `Options`.
      prepare: commands before all runs, as arguments of `tfface`, by the `dataset.json` that each makes.
      runs: list of `Run`, one for each seed and training.
      chosen: list of `Experiment`, the rows that were asked for.
      same: dict from a row to the row whose training it shares, because their settings are equal.
      substitutions: list of (what, the paper, here) of all rows, or of those that `what` names.
      data: text that identifies the data of a small scale; "" at the paper's.
    """

    table: Table
    options: Options
    prepare: dict[pathlib.Path, list[str]]
    runs: list[Run]
    chosen: list[Experiment]
    same: dict[str, str]
    substitutions: list[tuple[str, str, str]]
    data: str

    def runs_of(self, experiment: Experiment) -> list[Run]:
        """Returns the runs that give the numbers of a row."""
        name = self.same.get(experiment.name, experiment.name)
        return [run for run in self.runs if run.experiment.name == name]


def make_plan(table: Table, options: Options) -> Plan:
    """Makes the plan of a reproduction.

    Raises:
      ValueError: an option does not fit the table or the data.
      OSError: the data cannot be read.
    """
    chosen = _rows(table, options.rows)
    trained = {experiment.name: experiment for experiment in chosen}
    papers = {name: settings_of(experiment.arguments) for name, experiment in trained.items()}
    folder = options.output / "data"
    prepare: dict[pathlib.Path, list[str]] = {}
    if options.scale == "small":
        small_set = small.open_small_set(options.data or "synthetic", folder)
        if small_set.prepare:
            prepare[pathlib.Path(small_set.heldout, "dataset.json")] = list(small_set.prepare)
        given = {name: small.small_flags(papers[name], small_set, options.steps or small.STEPS) for name in papers}
        for name, experiment in trained.items():
            given[name] += _shuffled(experiment, papers[name].train_data, small_set, folder, prepare)
        about, data = small_set.about, small_set.content or options.data or "synthetic"
    else:
        given = {name: _paper_flags(table, settings, options, papers) for name, settings in papers.items()}
        about = data = ""
    arguments = {name: [*trained[name].arguments, *given[name], *options.train_flags] for name in trained}
    settings = {name: settings_of(each) for name, each in arguments.items()}
    same = _same(settings)
    runs = [
        _run(table, trained[name], arguments[name], settings[name], seed, options)
        for seed in range(options.seeds)
        for name in trained
        if name not in same
    ]
    substitutions = _differences(papers, settings, _OF_SMALL_SET if options.scale == "small" else set())
    if options.scale == "small":
        measures = ", ".join(table.measures) or "the paper's tests"
        substitutions.insert(0, ("data", papers[chosen[0].name].train_data, about))
        here = "verification and identification of held-out people, on 6,000 pairs at most, drawn anew with each seed"
        substitutions.append(("evaluation", measures, here if not _lists(settings) else "the official pairs of CFP"))
    return Plan(table, options, prepare, runs, chosen, same, substitutions, data)


def check_inputs(plan: Plan) -> None:
    """Raises ValueError if a training of the paper's scale, or its evaluation, would not find what it needs."""
    if plan.options.scale == "small":
        return
    from tfface.config import components

    for run in plan.runs:
        settings = run.settings
        where = f"as the comment of {run.experiment.flagfile} says"
        if not os.path.isdir(settings.train_data) and not glob.glob(settings.train_data):
            raise ValueError(
                f"{run.experiment.name}: there are no records {settings.train_data}; --data names them, or make them "
                f"{where}."
            )
        if settings.init_from and not os.path.exists(settings.init_from):
            raise ValueError(
                f"{run.experiment.name} starts from {settings.init_from}, which is not there: train it first, {where}."
            )
    given = [
        each.partition("=")[::2]
        for run in plan.runs
        for arguments in run.evaluate.values()
        for each in flagfiles.expand(list(arguments))
    ]
    for name, value in dict.fromkeys(given):
        if name == "--protocol" and "(" in value:
            components.build("protocol", value)  # It reads its lists.
        elif name in ("--protocol", "--data") and not os.path.exists(value):
            raise ValueError(f"{name}={value}: the evaluation needs it, and it does not exist.")


def _rows(table, names):
    known = {experiment.name: experiment for experiment in table.experiments}
    if strangers := [name for name in names if name not in known]:
        raise ValueError(f"{table.name} has no row {strangers[0]!r}; its rows are {', '.join(known)}.")
    return [experiment for name, experiment in known.items() if not names or name in names]


def _paper_flags(table, settings, options, papers):
    given = small.shortened(settings, options.steps) if options.steps else []
    if options.data:
        if len(sets := sorted({each.train_data for each in papers.values()})) > 1:
            raise ValueError(
                f"the rows of {table.name} train on different data: leave --data out, and have {', '.join(sets)} in "
                "this folder; or choose --rows of one of them."
            )
        given.append(f"--train_data={options.data}")
    return given


def _shuffled(experiment, records, small_set, folder, prepare):
    """Returns the flag of a row whose labels are shuffled in part, and adds the command that shuffles them."""
    share = small.shuffled_copies(experiment.flagfile).get(records)
    if share is None:
        return []
    if small_set.train == "synthetic":
        raise ValueError(f"{experiment.name} shuffles labels of records: --data must name images, not 'synthetic'.")
    output = folder / f"shuffled-{share:g}"
    command = ["records", "relabel", f"--input={small_set.train}", f"--output={output}", f"--shuffle={share:g}"]
    prepare[output / "dataset.json"] = command
    return [f"--train_data={output}"]


def _evaluated(folder):
    # The page is the last file of an evaluation.
    return (folder / "report.html").is_file()


def _run(table, experiment, arguments, settings, seed, options):
    name = f"{experiment.name}/seed-{seed}"
    folder = options.output / "runs" / name
    train = ("train", *arguments, f"--run_dir={folder}", f"--seed={seed}")
    evaluate = {}
    if options.scale == "paper":
        for kind, given in evaluations(table, experiment, settings.train_data).items():
            output = options.output / "evaluations" / name / kind
            evaluate[output] = ("evaluate", f"--model={folder}", *given, f"--output={output}")
    return Run(experiment, seed, folder, settings, train, evaluate)


def _same(settings):
    """Finds rows whose trainings are equal: {row: an earlier row}."""
    first: dict[str, str] = {}
    found = {}
    for name, each in settings.items():
        written = str(dataclasses.replace(each, run_dir="run"))
        if first.setdefault(written, name) != name:
            found[name] = first[written]
    return found


def _differences(papers, settings, told):
    """Lists what differs from the flagfiles, once where it is the same in all rows: [(what, the paper, here)]."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for name, here in settings.items():
        for field in dataclasses.fields(here):
            paper, now = (getattr(each, field.name) for each in (papers[name], here))
            if field.name not in _NO_DIFFERENCE | told and paper != now:
                found.setdefault((field.name, _shown(paper), _shown(now)), []).append(name)
            elif field.name == "train_data" and "shuffled-" in str(now):
                found.setdefault((field.name, paper, pathlib.Path(now).name), []).append(name)
    return [
        (what if len(names) == len(settings) else f"{what} of {', '.join(names)}", paper, now)
        for (what, paper, now), names in found.items()
    ]


def _shown(value):
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value in (None, "") else str(value)


def _lists(settings):
    return any(each.protocol for each in settings.values())
