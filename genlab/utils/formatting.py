"""Numbers and values as people read and write them."""

from __future__ import annotations

from typing import Any


def number(value: float) -> str:
    """Four or more significant digits, never an exponent for everyday sizes."""
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e12 else f"{value:.5g}"


def duration(seconds: float) -> str:
    """`45s`, `3m 05s`, `2h 14m`, `3d 4h`."""
    minutes, second = divmod(int(seconds + 0.5), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}d {hour}h"
    if hours:
        return f"{hours}h {minute:02}m"
    return f"{minutes}m {second:02}s" if minutes else f"{second}s"


def value_text(value: Any) -> str:
    """A value of the configuration as it is written on the command line."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return str(value)
