from __future__ import annotations

import io
import re
import sys

import pytest

from napari_sam2_adapters.cli.terminal import errors, output, progress_bar


class Terminal(io.StringIO):
    """Takes what is written, as a terminal would."""

    def isatty(self) -> bool:
        return True


def screen(written: str) -> list[str]:
    """The lines that a terminal shows after all of that."""
    lines, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[\??(\d*)([A-Za-z])|(.)", written, re.DOTALL):
        number, command, character = part
        if command == "A":
            row = max(0, row - int(number or 1))
        elif command == "K":
            lines[row], column = "", 0
        elif character == "\r":
            column = 0
        elif character == "\n":
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        elif character:
            line = lines[row].ljust(column)
            lines[row] = line[:column] + character + line[column + 1 :]
            column += 1
    return [line.rstrip() for line in lines if line.strip()]


@pytest.mark.parametrize("same", [True, False])
def test_what_is_printed_beside_bars_stays(monkeypatch: pytest.MonkeyPatch, same: bool) -> None:
    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(sys, "stdout", terminal if same else io.StringIO())
    with progress_bar() as bar:
        images, tiles = (bar.add_task(name, total=3) for name in ("images", "tiles"))
        for number in range(3):
            bar.update(tiles, completed=number)
            bar.refresh()
            output().print(f"result {number}")
            errors().print(f"note {number}")
            bar.update(images, completed=number)
            bar.refresh()
        shown = screen(terminal.getvalue())
        assert [line.split()[0] for line in shown[-2:]] == ["images", "tiles"]
    told = [f"note {number}" for number in range(3)]
    results = [f"result {number}" for number in range(3)]
    if same:
        told = [line for pair in zip(results, told, strict=True) for line in pair]
    else:
        assert sys.stdout.getvalue().splitlines() == results
    assert screen(terminal.getvalue()) == told


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_long_name_leaves_room_for_counts_and_times(
    monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress_bar() as bar:
        bar.add_task("images", total=5, completed=2)
        bar.add_task("a_very_long_name_" * 12 + ".tif", total=9, completed=4)
        bar.refresh()
        images, tiles = screen(terminal.getvalue())[-2:]
    for line, count in ((images, "2/5"), (tiles, "4/9")):
        assert len(line) <= width
        assert count in line
        assert re.search(r"\d:\d\d:\d\d", line)
    assert images.startswith("images"[: 6 if width > 40 else 3])
    assert tiles.startswith("a_v")
    assert "…" in tiles
