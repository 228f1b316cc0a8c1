"""The interface of all figures, and how their files are written."""

import abc
import io
import os
import pathlib
from collections.abc import Sequence

from matplotlib.figure import Figure

from tfface import files
from tfface.evaluation.reports.plots import to_svg

FORMATS = (".png", ".svg", ".pdf")


class PaperFigure(abc.ABC):
    """A figure of a paper, drawn from the files of a run or of a model."""

    @abc.abstractmethod
    def figure(self) -> Figure:
        """Returns a new matplotlib Figure."""

    def draw(self, path: str | os.PathLike | None = None) -> Figure:
        """Draws the figure.

        Args:
          path: PNG, SVG or PDF file to write, by the end of its name; a reader sees the old file or the whole new one.
            None: no file.

        Returns:
          matplotlib Figure, which a notebook shows.

        Raises:
          ValueError: the name of the file ends otherwise.
          OSError: it cannot be written.
        """
        if path is not None:
            check_format(path)
        figure = self.figure()
        if path is not None:
            files.write_atomically(path, _rendered(figure, _format(path)))
        return figure


def check_format(path: str | os.PathLike) -> None:
    """Raises ValueError if the name of a file does not end in one of `FORMATS`."""
    if _format(path) not in FORMATS:
        raise ValueError(f"the file of a figure must end in {', '.join(FORMATS)}; got {str(path)!r}.")


def panels(count: int, width: float, height: float, columns: int = 1) -> tuple[Figure, list]:
    """Makes a figure of some panels.

    Args:
      count: int, number of panels.
      width, height: of one panel, inches.
      columns: int, panels side by side.

    Returns:
      (Figure, list of its Axes).
    """
    rows = -(-count // columns)
    figure = Figure(figsize=(width * columns, height * rows), dpi=130, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for unused in grid[count:]:
        unused.remove()
    for axes in grid[:count]:
        axes.grid(color="#DDDDDD", linewidth=0.8)
        axes.set_axisbelow(True)
    return figure, grid[:count]


def several(paths: str | os.PathLike | Sequence[str | os.PathLike]) -> list[str | os.PathLike]:
    """Returns one path, or some, as a list.

    Raises:
      ValueError: there is none.
    """
    found = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not found:
        raise ValueError(f"a figure needs at least one path, got {paths!r}.")
    return found


def name_of(path: str | os.PathLike) -> str:
    """Returns the name of a file or folder without the end of a file of embeddings, for the title of its panel."""
    path = pathlib.Path(os.path.abspath(path))
    return path.stem if path.suffix in (".npz", ".tfrecord") else path.name


def _format(path):
    return pathlib.Path(path).suffix


def _rendered(figure, suffix):
    if suffix == ".svg":
        return to_svg(figure)
    picture = io.BytesIO()
    # Without its date, the same figure gives the same bytes.
    figure.savefig(picture, format=suffix[1:], metadata={"CreationDate": None} if suffix == ".pdf" else None)
    return picture.getvalue()
