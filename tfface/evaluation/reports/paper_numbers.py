"""The numbers that papers print, one per line of a CSV file."""

import csv
import io
import os
from typing import NamedTuple

from tfface.files import read_regular, short_reason

_MAX_BYTES = 16 << 20
_COLUMNS = ["paper", "table", "training", "method", "measure", "value"]


class PaperNumber(NamedTuple):
    """One number of a paper.

    Attributes:
      paper, table: where it stands, such as "ArcFace" and "2".
      training: data and network, or "quoted" for a number that the paper gives for a model of others.
      method: name of the line in the table.
      measure: such as "LFW accuracy"; in percent, unless it names its unit.
      value: text, as printed.
      experiment: the training that should give it, FLAGFILE:ROW or FLAGFILE; "" if there is none.
    """

    paper: str
    table: str
    training: str
    method: str
    measure: str
    value: str
    experiment: str = ""


def read_paper_numbers(path: str | os.PathLike) -> list[PaperNumber]:
    """Reads the numbers of papers.

    Args:
      path: CSV file with the columns paper, table, training, method, measure, value and, optionally, experiment.

    Returns:
      list of PaperNumber in the order of the file.

    Raises:
      ValueError: the file is not a CSV file with these columns.
      OSError: the file cannot be read.
    """
    try:
        text = read_regular(path, _MAX_BYTES).decode()
        header, *rows = list(csv.reader(io.StringIO(text, newline=""), strict=True)) or [[]]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: not a CSV file ({short_reason(error)}).") from None
    # Files of release 0.1 hold percentages only, and say so.
    if header not in (_COLUMNS, [*_COLUMNS, "experiment"], [*_COLUMNS[:-1], "percent"]):
        raise ValueError(f"{path}: expected the columns {_COLUMNS}, got {str(header)[:200]}.")
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"{path}: expected {len(header)} cells in every row, got {str(row)[:200]}.")
    return [PaperNumber(*row) for row in rows]
