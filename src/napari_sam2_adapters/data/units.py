"""Names of units of length and time: how files write them, and how they are called here."""

from __future__ import annotations

__all__ = [
    "convert",
    "convert_time",
    "file_symbol",
    "length_in_metres",
    "time_symbol",
    "time_unit_name",
    "unit_name",
    "unknown_unit_notice",
]

# name as napari (pint) spells it: length in metres, symbol in OME, symbol in ImageJ's ASCII; all that OME has
_UNITS = {
    "yottameter": (1e24, "Ym", "Ym"),
    "zettameter": (1e21, "Zm", "Zm"),
    "exameter": (1e18, "Em", "Em"),
    "petameter": (1e15, "Pm", "Pm"),
    "terameter": (1e12, "Tm", "Tm"),
    "gigameter": (1e9, "Gm", "Gm"),
    "megameter": (1e6, "Mm", "Mm"),
    "kilometer": (1000.0, "km", "km"),
    "hectometer": (100.0, "hm", "hm"),
    "decameter": (10.0, "dam", "dam"),
    "meter": (1.0, "m", "m"),
    "decimeter": (1e-1, "dm", "dm"),
    "centimeter": (1e-2, "cm", "cm"),
    "millimeter": (1e-3, "mm", "mm"),
    "micrometer": (1e-6, "µm", "um"),
    "nanometer": (1e-9, "nm", "nm"),
    "picometer": (1e-12, "pm", "pm"),
    "femtometer": (1e-15, "fm", "fm"),
    "attometer": (1e-18, "am", "am"),
    "zeptometer": (1e-21, "zm", "zm"),
    "yoctometer": (1e-24, "ym", "ym"),
    "angstrom": (1e-10, "Å", "angstrom"),
    "thou": (2.54e-5, "thou", "thou"),
    "point": (0.0254 / 72, "pt", "point"),
    "line": (0.0254 / 12, "li", "line"),
    "inch": (0.0254, "in", "inch"),
    "foot": (0.3048, "ft", "foot"),
    "yard": (0.9144, "yd", "yard"),
    "mile": (1609.344, "mi", "mile"),
    "astronomical_unit": (149597870700.0, "ua", "astronomical_unit"),
    "light_year": (9460730472580800.0, "ly", "light_year"),
    "parsec": (3.0856775814913673e16, "pc", "parsec"),
}
_SPELLINGS = {
    "um": "micrometer",
    "μm": "micrometer",
    "\\u00b5m": "micrometer",
    "micron": "micrometer",
    "microns": "micrometer",
    "in": "inch",
    "inches": "inch",
    "feet": "foot",
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
# OME's word for the coordinates of a microscope's own
_OWN_FRAME = "reference frame"
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
    """How a unit is written into a file; ``pixel`` for none, and for what the file has no word for.

    Parameters
    ----------
    unit
        As :func:`unit_name` takes it.
    ascii_only
        For ImageJ, which takes any word, and not for OME, which has a list of units.
    """
    name = unit_name(unit)
    if name in _UNITS:
        _, ome, imagej = _UNITS[name]
        return imagej if ascii_only else ome
    fitting = name == _OWN_FRAME or (ascii_only and name is not None and _is_plain(name))
    return name if name is not None and fitting else "pixel"


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable()


def length_in_metres(unit: str | None) -> float | None:
    """How long a unit is; None for what is no length that is known here, and for none."""
    found = _UNITS.get(unit_name(unit) or "")
    return None if found is None else found[0]


def unknown_unit_notice(unit: str | None) -> str:
    """A sentence about a unit that is no length known here, and what becomes of it; empty for others and for none."""
    name = unit_name(unit)
    if name is None or name in _UNITS:
        return ""
    return (
        f"Its pixel size is in {name!r}, which is no unit of length that is known here. The numbers are kept; "
        "other programs and files may show them without a unit."
    )


def convert(length: float, unit: str | None, wanted: str | None) -> float:
    """A length in another unit; unchanged when either of the two is not a known length."""
    return _converted(length, unit, wanted, _UNITS)


def convert_time(time: float, unit: str | None, wanted: str | None) -> float:
    """A time in another unit; unchanged when either of the two is not known."""
    return _converted(time, unit, wanted, _TIMES)


def _converted(
    value: float, unit: str | None, wanted: str | None, units: dict[str, tuple[float, str, str]]
) -> float:
    source, target = units.get(unit or ""), units.get(wanted or "")
    return value if source is None or target is None else value * source[0] / target[0]
