"""Checks of arguments: errors that name the value and what was possible."""


def check_option(name, value, choices):
    """Raises ValueError unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}; got {value!r}.")


def check_range(name, value, lowest, highest, unit=""):
    """Raises ValueError unless `lowest` <= `value` <= `highest`; NaN is outside."""
    if not lowest <= value <= highest:
        raise ValueError(f"{name} must be in [{lowest:.6g}, {highest:.6g}]{unit and ' ' + unit}, got {value!r}.")
