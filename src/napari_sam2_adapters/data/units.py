"""Names of units of length and time: how files write them, and how they are called here."""

from __future__ import annotations

__all__ = ["convert", "file_symbol", "time_symbol", "time_unit_name", "unit_name"]

# name as napari (pint) spells it: length in metres, symbol in OME, symbol in ImageJ's ASCII
_UNITS = {
    "picometer": (1e-12, "pm", "pm"),
    "angstrom": (1e-10, "Å", "angstrom"),
    "nanometer": (1e-9, "nm", "nm"),
    "micrometer": (1e-6, "µm", "um"),
    "millimeter": (1e-3, "mm", "mm"),
    "centimeter": (1e-2, "cm", "cm"),
    "inch": (0.0254, "in", "inch"),
    "meter": (1.0, "m", "m"),
}
_SPELLINGS = {
    "um": "micrometer",
    "μm": "micrometer",
    "\\u00b5m": "micrometer",
    "micron": "micrometer",
    "microns": "micrometer",
    "in": "inch",
    "å": "angstrom",
}
# the same for seconds; ImageJ spells them out
_TIMES = {
    "nanosecond": (1e-9, "ns", "nsec"),
    "microsecond": (1e-6, "µs", "usec"),
    "millisecond": (1e-3, "ms", "msec"),
    "second": (1.0, "s", "sec"),
    "minute": (60.0, "min", "min"),
    "hour": (3600.0, "h", "hour"),
    "day": (86400.0, "d", "day"),
}
_TIME_SPELLINGS = {"us": "microsecond", "μs": "microsecond", "hr": "hour", "secs": "second"}
_NO_UNIT = {"", "pixel", "pixels", "px", "none", "null", "dimensionless"}


def unit_name(text: str | None) -> str | None:
    """The name of a unit as a file or napari spells it (``um``, ``µm``, ``micron`` → ``micrometer``).

    Returns
    -------
    str or None
        None for no unit and for pixels; an unknown unit as it is.
    """
    if text is None or text.strip().lower() in _NO_UNIT:
        return None
    plain = text.strip()
    lower = plain.lower().replace("metre", "meter")
    if lower in _SPELLINGS:
        return _SPELLINGS[lower]
    return _named(plain, _UNITS) or plain


def time_unit_name(text: str | None) -> str | None:
    """The name of a unit of time as a file or napari spells it (``s``, ``sec`` → ``second``); None for none and unknown ones."""
    if text is None:
        return None
    plain = text.strip()
    return _TIME_SPELLINGS.get(plain.lower()) or _named(plain, _TIMES)


def time_symbol(unit: str | None, *, ascii_only: bool) -> str:
    """How a unit of time is written into a file, seconds for none; as :func:`file_symbol`."""
    _, ome, imagej = _TIMES[time_unit_name(unit) or "second"]
    return imagej if ascii_only else ome


def _named(plain: str, units: dict[str, tuple[float, str, str]]) -> str | None:
    """The unit that is spelt so; symbols keep their case, for ``Ms`` is not ``ms``."""
    lower = plain.lower().replace("metre", "meter")
    for name, (_, ome, imagej) in units.items():
        if plain in (ome, imagej) or lower in (name, f"{name}s"):
            return name
    return None


def file_symbol(unit: str | None, *, ascii_only: bool) -> str:
    """How a unit is written into a file, ``pixel`` for none.

    Parameters
    ----------
    unit
        As :func:`unit_name` takes it.
    ascii_only
        For ImageJ, which takes any word, and not for OME, which has a list of units.

    Raises
    ------
    ValueError
        When such a file cannot carry the unit.
    """
    name = unit_name(unit)
    if name is None:
        return "pixel"
    if name in _UNITS:
        _, ome, imagej = _UNITS[name]
        return imagej if ascii_only else ome
    if ascii_only and name.isascii() and name.isprintable():
        return name
    raise ValueError(
        f"Image files cannot carry the unit {unit!r}. Give the pixel size in one of {', '.join(_UNITS)}."
    )


def convert(length: float, unit: str | None, wanted: str | None) -> float:
    """A length in another unit; unchanged when either of the two is not a known length."""
    source, target = _UNITS.get(unit or ""), _UNITS.get(wanted or "")
    return length if source is None or target is None else length * source[0] / target[0]
