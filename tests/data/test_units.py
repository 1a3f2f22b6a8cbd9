"""Names of units."""

import pytest

from napari_sam2_adapters.data.units import convert, file_symbol, unit_name


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
    ],
)
def test_spellings_have_one_name(text, name):
    assert unit_name(text) == name


def test_lengths_are_converted():
    assert convert(250, "nanometer", "micrometer") == pytest.approx(0.25)
    assert convert(2, "furlong", "micrometer") == 2
    assert convert(2, None, "micrometer") == 2


def test_symbols_in_files():
    assert file_symbol("micrometer", ascii_only=False) == "µm"
    assert file_symbol("µm", ascii_only=True) == "um"
    assert file_symbol(None, ascii_only=True) == "pixel"
    assert file_symbol("furlong", ascii_only=True) == "furlong"
    with pytest.raises(ValueError, match="furlong"):
        file_symbol("furlong", ascii_only=False)
    with pytest.raises(ValueError, match="尺"):
        file_symbol("尺", ascii_only=True)
