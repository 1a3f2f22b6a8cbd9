"""Names of units."""

import pint
import pytest
from ome_types.model import UnitsLength

from napari_sam2_adapters.data.units import (
    convert,
    convert_time,
    file_symbol,
    length_in_metres,
    unit_name,
    unknown_unit_notice,
)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("um", "micrometer"),
        ("µm", "micrometer"),
        ("μm", "micrometer"),
        ("\\u00B5m", "micrometer"),
        ("micron", "micrometer"),
        ("Micrometre", "micrometer"),
        ("nm", "nanometer"),
        ("mm", "millimeter"),
        ("m", "meter"),
        ("inch", "inch"),
        ("pixel", None),
        ("", None),
        (None, None),
        ("furlong", "furlong"),
        ("dm", "decimeter"),
        ("km", "kilometer"),
        ("Mm", "megameter"),
        ("ft", "foot"),
        ("feet", "foot"),
        ("kilometre", "kilometer"),
        ("reference frame", "reference frame"),
    ],
)
def test_spellings_have_one_name(text, name):
    assert unit_name(text) == name


def test_lengths_are_converted():
    assert convert(250, "nanometer", "micrometer") == pytest.approx(0.25)
    assert convert(2, "furlong", "micrometer") == 2
    assert convert(2, None, "micrometer") == 2


def test_times_are_converted():
    assert convert_time(2.5, "minute", "second") == 150
    assert convert_time(3, "nanosecond", "microsecond") == pytest.approx(0.003)
    assert convert_time(3, None, "second") == 3


def test_symbols_in_files():
    assert file_symbol("micrometer", ascii_only=False) == "µm"
    assert file_symbol("µm", ascii_only=True) == "um"
    assert file_symbol(None, ascii_only=True) == "pixel"
    assert file_symbol("furlong", ascii_only=True) == "furlong"
    assert file_symbol("furlong", ascii_only=False) == "pixel"
    assert file_symbol("尺", ascii_only=True) == "pixel"


def test_all_lengths_of_ome_are_known_by_their_symbols_and_as_pint_knows_them():
    registry = pint.get_application_registry()
    for unit in UnitsLength:
        name = unit_name(unit.value)
        if unit is UnitsLength.PIXEL:
            assert name is None
            continue
        assert file_symbol(name, ascii_only=False) == unit.value
        if unit is UnitsLength.REFERENCEFRAME:
            assert length_in_metres(name) is None
            continue
        assert file_symbol(name, ascii_only=True).isascii()
        assert unit_name(file_symbol(name, ascii_only=True)) == name
        if unit is not UnitsLength.LINE:  # a twelfth of an inch, which pint does not have
            assert registry.Quantity(1, name).to("m").magnitude == pytest.approx(length_in_metres(name))  # fmt: skip


@pytest.mark.parametrize("unit", [None, "pixel", "dm", "foot", "km", "nm"])
def test_known_units_are_not_spoken_of(unit):
    assert unknown_unit_notice(unit) == ""


@pytest.mark.parametrize("unit", ["blah", "reference frame", "degree_Celsius"])
def test_unknown_units_are(unit):
    assert f"in '{unit}', which is no unit of length" in unknown_unit_notice(unit)
