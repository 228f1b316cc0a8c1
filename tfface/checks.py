"""Checks of arguments, with errors that give the value and the valid ones."""

from collections.abc import Collection


def check_option(name: str, value: object, choices: Collection) -> None:
    """Raises ValueError unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}; got {value!r}.")


def check_range(name: str, value: float, lowest: float, highest: float, unit: str = "") -> None:
    """Raises ValueError unless `lowest` <= `value` <= `highest`; NaN is outside."""
    if not lowest <= value <= highest:
        raise ValueError(f"{name} must be in [{lowest:.6g}, {highest:.6g}]{unit and ' ' + unit}, got {value!r}.")
