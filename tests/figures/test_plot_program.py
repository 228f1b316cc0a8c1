"""`tfface plot`: a figure by its call, and where it is written."""

import subprocess
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure

from tfface import figures
from tfface.config import components


class Line(figures.PaperFigure):
    def figure(self):
        figure = Figure()
        figure.add_subplot().plot([0, 1], [1, 0])
        return figure


@pytest.mark.parametrize("suffix, start", [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_the_same_figure_gives_the_same_file(tmp_path, suffix, start):
    paths = [tmp_path / f"{name}{suffix}" for name in "ab"]
    for path in paths:
        Line().draw(path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert paths[0].read_bytes().startswith(start)
    assert len(list(tmp_path.iterdir())) == 2
    assert Line().draw().axes[0].get_lines()


def test_the_program_writes_the_figure_of_a_call(tmp_path):
    vectors = np.eye(4, dtype=np.float32)
    np.savez(tmp_path / "a.npz", vectors=vectors, keys=np.array(list("abcd")), labels=np.array([0, 0, 1, 1]))
    command = [sys.executable, "-m", "tfface", "plot", "--figure=PairHistograms(embeddings='a.npz')"]
    done = subprocess.run([*command, "--output=a.png"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "Wrote a.png\n"), done.stderr
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_another_format_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must end in .png, .svg, .pdf; got '.*a.jpg'"):
        Line().draw(tmp_path / "a.jpg")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", figures.COMPONENTS)
def test_every_figure_says_what_it_shows(name):
    figure = components.find("figure", name)
    assert issubclass(figure, figures.PaperFigure)
    assert "Reference:" in figure.__doc__ and figure.__doc__.partition("\n")[0].endswith(".")
    with pytest.raises(ValueError, match=f"figure {name} has no argument 'colour'"):
        components.build("figure", f"{name}(colour=1)")
