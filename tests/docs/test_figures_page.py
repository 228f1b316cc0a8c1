"""docs/figures.md: its table has every figure, and its Python runs."""

import pathlib
import re

from tfface import figures

TEXT = (pathlib.Path(__file__).resolve().parents[2] / "docs" / "figures.md").read_text(encoding="utf-8")


def test_the_table_has_every_figure():
    assert sorted(re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE)) == sorted(figures.COMPONENTS)
    assert {name for name in figures.COMPONENTS if f'--figure="{name}(' in TEXT} == set(figures.COMPONENTS)


def test_the_callbacks_write_what_the_figures_draw(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    exec(code, {})
    assert {"angles.png", "drift.png"} <= {path.name for path in tmp_path.iterdir()}
    figure = figures.AngleDistributions("runs/figures", steps=[0, 8])
    assert figure.counts.positive.sum(axis=1).tolist() == [32, 32]
