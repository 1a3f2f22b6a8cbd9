"""What is told of a run whose tiles become others on its way."""

from __future__ import annotations

from fractions import Fraction

from napari_sam2_adapters.inference.tile_progress import Advance


def test_tiles_are_told_as_they_are_unless_they_would_fall_back() -> None:
    advance = Advance()
    assert [advance(Fraction(n, 4), 4) for n in range(4)] == [(n, 4) for n in range(4)]
    assert advance(Fraction(0, 16), 16) == (12, 16)  # a plane anew, with smaller tiles
    assert advance(Fraction(11, 16), 16) == (12, 16)
    assert advance(Fraction(13, 16), 16) == (13, 16)
    assert advance(Fraction(1, 3), 3) == (
        13,
        16,
    )  # on the CPU with larger ones: not told more coarsely
    assert advance(Fraction(3, 3), 3) == (16, 16)


def test_it_is_whole_at_the_end_alone() -> None:
    advance = Advance()
    assert advance(Fraction(63, 64), 64) == (63, 64)
    assert advance(Fraction(0, 65), 65) == (64, 65)
