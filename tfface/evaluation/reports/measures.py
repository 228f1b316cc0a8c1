"""Results of protocols that are more than pairs of images, as text, JSON values and rows of CSV."""

import math
from collections.abc import Iterable
from typing import Any

from tfface.evaluation.metrics.protocol_result import ProtocolResult, percent
from tfface.evaluation.reports.tables import align, plain_completeness

HEADER = ["protocol", "measure", "%"]


def measures_table(results: Iterable[ProtocolResult]) -> str:
    """Formats results as a text table of one rate per line, with what each depends on below.

    Returns:
      str without a trailing newline; "n/a" marks a rate that could not be measured, and a sentence names each protocol
      that lacks something.
    """
    results = list(results)
    rows = [HEADER] + [row for result in results for row in measure_rows(result)]
    return "\n".join([align(rows), *(f"{result.name}: {described(result)}" for result in results), *partial(results)])


def measure_rows(result: ProtocolResult) -> list[list[str]]:
    """Makes rows below `HEADER`, one per rate."""
    return [[result.name, measure, percent(rate)] for measure, rate in result.rates.items()]


def described(result: ProtocolResult) -> str:
    """Returns what the rates of a result depend on, and the numbers behind them."""
    settings = [f"{name} {value}" for name, value in result.settings.items()]
    return "; ".join([*settings, *(f"{count} {name}" for name, count in result.counts.items())]) + "."


def partial(results: Iterable[ProtocolResult]) -> list[str]:
    """Returns a sentence for each protocol that was measured only in part."""
    return [
        f"{result.name}: {'; '.join(missing)}; these numbers are not those of the whole protocol."
        for result in results
        if (missing := [str(each) for each in result.completeness if each.missing])
    ]


def plain_result(result: ProtocolResult) -> dict[str, Any]:
    """Returns a result as JSON values; a rate that could not be measured becomes null."""
    return {
        "name": result.name,
        "rates": {measure: None if math.isnan(rate) else rate for measure, rate in result.rates.items()},
        "counts": result.counts,
        "settings": result.settings,
        "completeness": [plain_completeness(each) for each in result.completeness],
        "curves": {name: curve._asdict() for name, curve in result.curves.items()},
    }
