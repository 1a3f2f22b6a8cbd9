"""Numbers, misspelt names and wrong settings, in plain words."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

__all__ = ["as_written", "counted", "describe_errors", "did_you_mean", "shortened"]

# pydantic's kinds of findings, which speak to programmers.
_WANTED = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "color": "a colour as #rrggbb, such as #3b6ea5",
    "finite_number": "a finite number",
    "float_parsing": "a number",
    "float_type": "a number",
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number of fewer digits",
    "int_type": "a whole number",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
    "literal_error": "{expected}",
    "model_type": "settings such as 'name: value'",
    "multiple_of": "a multiple of {multiple_of}",
    "string_too_long": "at most {max_length} letters long",
    "string_too_short": "at least {min_length} letter long",
    "string_type": "text",
}
_LONGEST_VALUE = 80


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """The number with its noun: ``1 image``, ``1,200 images``; a plural that is not made with an s is given."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def shortened(text: str, most: int = 40) -> str:
    """The text with its middle left out where it has more than ``most`` letters."""
    if len(text) <= most:
        return text
    return f"{text[: most // 2]}…{text[len(text) - (most - most // 2 - 1) :]}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The known name that is most like a misspelt one; where none is, all of them."""
    names = list(known)
    like = difflib.get_close_matches(name.lower().replace("-", "_"), names, n=1)
    return f"did you mean {like[0]}?" if like else f"there are {', '.join(names)}."


def as_written(value: object) -> str:
    """Settings as people write them, ``name: value, name: value``, rather than as Python does; what is no group of them as Python does."""
    if not isinstance(value, Mapping):
        return repr(value)
    return ", ".join(f"{name}: {entry}" for name, entry in value.items()) or "nothing"


def describe_errors(
    error: ValidationError, *, known: Iterable[str] = (), of: str = "this group"
) -> str:
    """Say what is wrong with settings, one sentence per wrong setting.

    Parameters
    ----------
    error
        What pydantic found.
    known
        Names of the settings that there are; a misspelt one is compared with them.
    of
        What they are settings of.
    """
    return " ".join(_sentence(finding, list(known), of) for finding in error.errors())


def _sentence(finding: Mapping[str, Any], known: list[str], of: str) -> str:
    place = ".".join(str(part) for part in finding["loc"])
    if finding["type"] == "extra_forbidden":
        hint = f"; {did_you_mean(place, known)}" if known else "; take it out or correct its name."
        return f"{place} is not a setting of {of}{hint}"
    if finding["type"] == "missing":
        return f"{place} is missing."
    got = as_written(finding["input"])
    got = got if len(got) <= _LONGEST_VALUE else f"{got[:_LONGEST_VALUE]}…"
    if finding["type"] in _WANTED:
        wanted = _WANTED[finding["type"]].format_map(finding.get("ctx", {}))
        if finding["type"] == "literal_error":
            wanted = wanted.replace("'", "")
        return f"{place or 'It'} should be {wanted} (got {got})."
    message = str(finding["msg"]).removeprefix("Value error, ")
    of_place = f"{place}: " if place else ""  # else of several settings, which the message names
    return f"{of_place}{message[0].lower() + message[1:]} (got {got})."
