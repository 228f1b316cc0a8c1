"""Reproductions of the papers' tables: rows, numbers, plans, planted results; slow: a table, killed and continued."""

import csv
import dataclasses
import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys

import numpy as np
import programs
import pytest

from tfface import flagfiles
from tfface.config import train_config
from tfface.data.synthetic import rendering
from tfface.jobs.reproduction import job, measured, plan, processes, report, small, tables
from tfface.jobs.reproduction.experiments import settings_of

PAPERS = programs.ROOT / "tfface" / "cli" / "paper_results.csv"


@pytest.fixture(scope="module")
def known():
    return tables.read_tables(PAPERS)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """25 rendered people of 4 images."""
    folder = tmp_path_factory.mktemp("reproduce") / "photos"
    rendering.write_folder(folder, 25, 4, size=56)
    return folder


def planned(known, tmp_path, photos, table="sphereface2/3", **options):
    options = {"scale": "small", "data": photos and str(photos), "output": tmp_path / "out", **options}
    return plan.make_plan(known[table], plan.Options(**options))


def test_tables_have_the_rows_that_the_page_lists(known):
    page = (programs.ROOT / "docs" / "paper_experiments.md").read_text(encoding="utf-8")
    found = {}
    for paper, section in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL):
        for line in re.findall(r"^\| (?!table|-).*$", section, re.MULTILINE):
            number, _, name, cell = (each.strip() for each in line.strip("|").split(" | "))
            number = {"section 4.1": "pretraining"}.get(number, number.replace("Figure ", "figure"))
            rows = re.findall(r"`(.+?)`", cell)
            table = f"{paper.replace('-', '').lower()}/{number}"
            found.setdefault(table, set()).update({(name.strip("`"), row) for row in rows or [""]})
    ours = {name: {(row.flagfile, row.row) for row in table.experiments} for name, table in known.items()}
    # Its baseline is the same without and with compensation.
    assert ours == found


def test_the_numbers_in_the_line_of_a_row_are_its_own(known):
    values = {}
    for table in known.values():
        for key, numbers in table.numbers.items():
            values.setdefault(key, set()).update(round(value, 4) for value in numbers.values())
    checked = 0
    for row in (row for table in known.values() for row in table.experiments):
        text = flagfiles.packaged()[row.flagfile].read_text(encoding="utf-8")
        for line in text.splitlines():
            name, *words = line.partition("--")[0].split()[1:] or [""]
            printed = [float(word) for word in words if re.fullmatch(r"\d+\.\d+", word)]
            # Tables of one flagfile that are not of its rows have headings of their own.
            of_row = line.startswith("#   ") and name == row.row and row.key in values
            if not of_row or not printed or "table6b" in row.flagfile:
                continue
            # IJB is printed in fractions there.
            assert any({round(factor * each, 4) for each in printed} <= values[row.key] for factor in (1, 100)), line
            checked += 1
    assert checked > 100


def test_every_row_has_a_training_and_an_evaluation_of_its_measures(known):
    for table in known.values():
        for row in table.experiments:
            settings = settings_of(row.arguments)
            found = tables.evaluations(table, row, settings.train_data)
            measures = set(table.numbers.get(row.key, ())) - set(tables.UNMEASURED)
            assert bool(found) == (bool(measures) or table.name.partition("/")[2].startswith("figure")), row
            text = "\n".join(
                "\n".join(flagfiles.expand(["evaluate", *arguments])) for arguments in found.values()
            ).lower()
            for name in {measure.split()[0].lower() for measure in measures if "(degrees)" not in measure}:
                kind = name.partition("-b")[0].partition("-c")[0].replace("-", "_")
                assert re.sub("agedb_30|trillion_pairs|in_shop", lambda m: m[0], kind) in re.sub(
                    r"(?<=[a-z])(?=pairs\()|inshop", lambda m: "_" if not m[0] else "in_shop", text
                ), (row, name)


@pytest.mark.parametrize(
    "name, words", [("sphereface2/2", "did you mean sphereface2/"), ("nothing", "The tables are arcface/2, ")]
)
def test_an_unknown_table_is_answered_with_the_right_ones(known, name, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        tables.find_table(known, name)
    assert tables.find_table(known, "SphereFace2/table3").name == "sphereface2/3"


def test_an_unknown_row_or_people_too_few_are_refused(known, photos, tmp_path):
    with pytest.raises(ValueError, match=r"has no row 'pm'; its rows are none, pn, "):
        planned(known, tmp_path, photos, rows=["pm"])
    with pytest.raises(ValueError, match="does not exist"):
        planned(known, tmp_path, photos / "absent")
    rendering.write_folder(tmp_path / "few", 5, 2, size=56)
    with pytest.raises(ValueError, match="5 people"):
        planned(known, tmp_path, tmp_path / "few")
    with pytest.raises(ValueError, match="leave --data out"):
        planned(known, tmp_path, "records/x", table="arcface/8", scale="paper")


def test_what_a_small_run_changes_is_listed(known, photos, tmp_path):
    """The listed substitutions, applied to the paper's settings, give those of the run: nothing is left unsaid."""
    made = planned(known, tmp_path, photos, steps=70)
    paper, here = settings_of(made.chosen[0].arguments), settings_of(list(made.runs[0].train[1:]))
    listed = {what.partition(" of ")[0] for what, _, _ in made.substitutions}
    silent = {"run_dir", "train_data", "heldout_data", "heldout_pairs", "log_every", "save_every", "verify_every"}
    for field in dataclasses.fields(paper):
        assert (getattr(paper, field.name) == getattr(here, field.name)) or field.name in listed | silent, field.name
    assert {"data", "evaluation", "head", "backbone", "steps", "schedule"} <= listed
    assert here.schedule == "Steps(steps=[40, 60])"
    # λ = (K - 1) / K for the 20 people who are not held out.
    assert "balance=0.95," in here.head


def test_what_changes_at_the_paper_s_scale_is_listed_too(known, tmp_path):
    assert planned(known, tmp_path, None, scale="paper").substitutions == []
    made = planned(known, tmp_path, "records/x", scale="paper", steps=700, train_flags=["--precision=mixed_bfloat16"])
    assert made.substitutions == [
        ("train_data", "records/vggface2", "records/x"),
        ("precision", "float32", "mixed_bfloat16"),
        ("steps", "70000", "700"),
        ("schedule", "Steps(steps=[40000, 60000])", "Steps(steps=[400, 600])"),
    ]


def test_rows_of_one_training_run_once(known, photos, tmp_path):
    made = planned(known, tmp_path, photos, table="sphereface2/11", seeds=2)
    assert made.same == {"m0.4": "r30", "t3": "r30"} and len(made.runs) == 22
    noisy = planned(known, tmp_path, photos, table="sphereface2/figure10", seeds=1)
    assert noisy.same == {} and len(noisy.prepare) == 5
    assert "--shuffle=0.4" in noisy.prepare[tmp_path / "out" / "data" / "shuffled-0.4" / "dataset.json"]


def plant(run, accuracy, rank):
    """Writes what a finished run leaves."""
    (run.folder / "export" / "1").mkdir(parents=True)
    result = {
        "name": "held-out pairs",
        "genuine_pairs": 500,
        "impostor_pairs": 500,
        "accuracy": {"mean": accuracy / 100, "std": 0},
        "auc": 0.9,
        "eer": 0.1,
        "tar_at_far": [],
    }
    document = {"context": {}, "results": [result], "identification": {"rank_rates": {"1": rank / 100}}}
    (run.folder / "results.json").write_text(json.dumps(document))
    (run.folder / "verification.csv").write_text(
        f"step,pairs,accuracy,std\n0,held-out pairs,0.5,0\n10,held-out pairs,{accuracy / 100},0\n"
    )


# Accuracies of three seeds, by row. The paper's order is that of the rows.
PLANTED = {
    "none": (60.0, 61.0, 62.0),
    "pn": (61.5, 62.5, 60.5),  # Within the deviation of the first.
    "pn-eh": (90.0, 90.2, 90.4),
    "pn-eh-am": (80.0, 80.2, 80.4),  # Reversed.
    "pn-eh-am-sa": (95.0, 95.5, 96.0),
}


@pytest.fixture
def finished(known, photos, tmp_path):
    made = planned(known, tmp_path, photos, seeds=3)
    for run in made.runs:
        plant(run, PLANTED[run.experiment.name][run.seed], 50 + run.seed)
    return made


def test_planted_results_are_summed_up(finished, monkeypatch):
    monkeypatch.setattr(processes, "run_command", lambda *arguments: None)
    assert job.reproduce(finished) == {}
    found = measured.measure(finished)
    for row, values in PLANTED.items():
        cell = found[row]["held-out pairs accuracy"]
        assert cell.mean == pytest.approx(np.mean(values)) and cell.deviation == pytest.approx(np.std(values, ddof=1))
    order = measured.orders(finished, found)
    assert order.hidden == [("pn", "none")] and order.reversed == [("pn-eh-am", "pn-eh")] and len(order.shown) == 8
    output = finished.options.output
    page, text = (output / "report.html").read_text(), (output / "report.md").read_text()
    for each in (page, text):
        assert "61.00 ± 1.00" in each and "94.28" in each and "15 of 15 runs are finished." in each
        assert "8 of the paper" in each and "1 are reversed" in each and "MobileFaceNet(width=0.25)" in each
    assert page.count("data:image/svg") == 2 and (output / "rows.svg").is_file() and (output / "curves.svg").is_file()
    with (output / "results.csv").open() as file:
        lines = {(line["row"], line["measure"]): line for line in csv.DictReader(file)}
    assert lines["pn-eh", "held-out pairs accuracy"]["deviation"] == "0.2"
    assert lines["pn-eh", "Combined accuracy"]["paper"] == "89.65" and len(lines) == 5 * 7


def test_numbers_of_the_paper_are_compared_with_the_deviation(known, tmp_path):
    cell = measured.Cell([99.4, 99.6], 99.5)
    assert cell.exceeds is False and measured.Cell([99.0, 99.1], 99.5).exceeds is True
    assert measured.Cell([99.0], 99.5).exceeds is None
    made = planned(known, tmp_path, None, scale="paper", seeds=2, rows=["pn"])
    (evaluation,) = made.runs[0].evaluate
    assert made.runs[0].commands()[1][0] == "evaluate" and not made.runs[0].finished
    for run, accuracy in zip(made.runs, (95.0, 95.2), strict=True):
        plant(run, accuracy, 0)
        (folder,) = run.evaluate
        folder.mkdir(parents=True)
        document = json.loads((run.folder / "results.json").read_text())
        document["results"][0]["name"] = "lfw"
        (folder / "results.json").write_text(json.dumps(document))
        assert run.commands() == [list(run.evaluate[folder])]
        (folder / "report.html").touch()
        assert run.finished and run.commands() == []
    cell = measured.measure(made)["pn"]["LFW accuracy"]
    assert cell.mean == pytest.approx(95.1) and cell.paper == 95.37 and cell.exceeds
    assert "95.10 ± 0.14*" in report.table_rows(made, measured.measure(made))[1]
    assert report.state(made, {})[1] == "4 rows were left out by --rows: none, pn-eh, pn-eh-am, pn-eh-am-sa."


def test_a_folder_keeps_to_its_data_and_settings(finished, known, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "run_command", lambda *arguments: None)
    job.reproduce(finished)
    (photos / "another" / "a").parent.mkdir()
    (photos / "another" / "a.jpg").touch()
    with pytest.raises(ValueError, match=r"holds another reproduction; changed: data \(was "):
        job.reproduce(planned(known, tmp_path, photos, seeds=3))
    (photos / "another" / "a.jpg").unlink()
    with pytest.raises(ValueError, match=r"steps \(was 'None', now '5'\)"):
        job.reproduce(planned(known, tmp_path, photos, seeds=3, steps=5))
    # Fewer rows of the same are none of others.
    assert job.reproduce(planned(known, tmp_path, photos, seeds=2, rows=["pn"])) == {}


@dataclasses.dataclass(frozen=True)
class Scripted(plan.Run):
    """A run of quick commands."""

    done: list = dataclasses.field(default_factory=list)

    @property
    def finished(self):
        return self.experiment.name in self.done

    def commands(self):
        return [["--version"], [self.experiment.flagfile]]


def test_a_run_that_fails_does_not_stop_the_others(known, tmp_path):
    row = known["sphereface2/3"].experiments[0]
    settings = train_config.TrainConfig(run_dir="r", train_data="t", steps=1)
    runs = [
        Scripted(dataclasses.replace(row, row=name, flagfile=word), 0, tmp_path / name, settings, (), {}, done=["over"])
        for name, word in {"good": "--version", "bad": "trian", "other": "--version", "over": "trian"}.items()
    ]
    calls = []
    failed = processes.run_all(runs, tmp_path / "logs", parallel=2, finished=lambda: calls.append(1))
    assert len(calls) == 3
    log = tmp_path / "logs" / "bad-seed-0.txt"
    assert failed == {"bad, seed 0": f"Error: tfface has no program 'trian': did you mean train? ({log})"}
    assert (tmp_path / "logs" / "other-seed-0.txt").read_text().count("tfface") == 2


_PARENT = """
import pathlib, sys
from tfface import interrupts
from tfface.jobs.reproduction import processes
interrupts.raise_interrupted()
start, _, _ = processes._CHILD.partition("runpy.run_module")
processes._CHILD = start + "import time; print(os.getpid(), flush=True); time.sleep(100)"
processes.run_command([], pathlib.Path(sys.argv[1]))
"""


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_ends_with_its_parent(tmp_path, signum):
    log = tmp_path / "log.txt"
    process = subprocess.Popen([sys.executable, "-c", _PARENT, str(log)], cwd=programs.ROOT, stderr=subprocess.DEVNULL)
    programs.wait_until(lambda: log.is_file() and log.read_text().endswith("\n"), process)
    child = pathlib.Path("/proc", log.read_text().strip(), "cmdline")
    assert "time.sleep(100)" in child.read_text()
    os.kill(process.pid, signum)
    process.wait(timeout=30)
    programs.wait_until(lambda: not child.exists() or not child.read_text(), seconds=30)


def test_what_the_paper_s_scale_needs_is_looked_for_first(known, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = planned(known, tmp_path, None, scale="paper")
    with pytest.raises(ValueError, match="there are no records"):
        job.reproduce(made)
    (tmp_path / "records").mkdir()
    made = planned(known, tmp_path, "records", scale="paper")
    with pytest.raises((ValueError, OSError), match="lfw.bin"):
        job.reproduce(made)
    pretrained = planned(known, tmp_path, "records", table="broadface/1", scale="paper")
    with pytest.raises(ValueError, match="cosface starts from runs/broadface/pretraining/cosface, which is not there"):
        job.reproduce(pretrained)
    assert not (tmp_path / "out" / "runs").exists()


def tfface(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "tfface", "reproduce", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=programs.ROOT,
        **options,
    )


def test_a_dry_run_prints_commands_that_run(photos, tmp_path):
    process = tfface("--table=dsoftmax/3", f"--output={tmp_path / 'out'}", "--seeds=2", "--dry_run")
    text, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    commands = [shlex.split(line) for line in text.splitlines() if not line.startswith("#")]
    assert [words[:2] for words in commands] == [["tfface", "train"], *[["tfface", "evaluate"]] * 2] * 8
    assert {settings_of(words[2:]).seed for words in commands if words[1] == "train"} == {0, 1}
    assert not (tmp_path / "out").exists()


def test_what_a_zip_holds(tmp_path):
    import zipfile

    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for number in range(30):
            archive.writestr(f"images_background/alphabet/character{number}/1.png", b"")
    made = small.open_small_set(str(tmp_path / "a.zip"), tmp_path / "data")
    assert made.classes == 24 and "--nomirror" in made.flags
    assert {"--root=images_background", "--depth=2", "--holdout_identities=6"} <= set(made.prepare)


@pytest.mark.slow
def test_a_killed_reproduction_continues(photos, tmp_path):
    """SIGKILL in the second run: the first is not repeated, no process stays, and the page is the same."""
    output = tmp_path / "out"
    arguments = ["--table=sphereface2/3", "--scale=small", f"--data={photos}", "--rows=pn-eh-am-sa", "--seeds=2"]
    arguments += ["--steps=20", "--train_flags=--log_every=5 --save_every=5 --batch_size=16", f"--output={output}"]

    def complete():
        process = tfface(*arguments)
        text, errors = process.communicate(timeout=1800)
        assert process.returncode == 0, errors
        return text, {name: (output / name).read_bytes() for name in ("report.html", "report.md", "results.csv")}

    expected = complete()
    os.rename(output, tmp_path / "first")
    first, second = (output / "runs" / "pn-eh-am-sa" / f"seed-{seed}" for seed in range(2))
    process = tfface(*arguments)
    programs.wait_until(lambda: list(second.glob("checkpoints/step-*")), process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    stamp = (first / "results.json").stat().st_mtime_ns
    assert complete() == expected
    assert (first / "results.json").stat().st_mtime_ns == stamp
    for seed in range(2):
        run = pathlib.Path("runs", "pn-eh-am-sa", f"seed-{seed}")
        assert programs.curve(output / run) == programs.curve(tmp_path / "first" / run)
    assert complete() == expected  # Nothing is left to do.
