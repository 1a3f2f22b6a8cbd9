"""The dock as a person uses it: adapters on the disk, and backbones from a server on this machine."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from qtpy.QtWidgets import QFileDialog, QInputDialog

from napari_sam2_adapters.export.request import ExportRequest
from napari_sam2_adapters.models import download
from napari_sam2_adapters.widgets.docks.log import log_path
from napari_sam2_adapters.widgets.docks.store import SUFFIX, list_adapters
from napari_sam2_adapters.widgets.models import Models
from napari_sam2_adapters.widgets.segment import Segment
from napari_sam2_adapters.widgets.shelf import adapter_list, backbone_list

WAIT_MS = 120_000
WEIGHTS = bytes(range(256)) * 300  # what the server of conftest offers


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SAM2_ADAPTERS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    return make_napari_viewer_proxy()


@pytest.fixture
def dock(viewer, qtbot, saved_adapter):
    """A dock that has read two adapters and the backbones; the first adapter is chosen."""
    saved_adapter("old")
    saved_adapter("new", seed=1)
    made = Models(viewer)
    qtbot.waitUntil(lambda: len(made.adapters.adapters) == 2, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: made.backbones.chosen is not None, timeout=WAIT_MS)
    yield made
    made.job.stop()
    qtbot.waitUntil(lambda: not made.job.running, timeout=WAIT_MS)
    made.close()
    made.deleteLater()


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Agree to every question, and note what was asked."""
    asked: list[str] = []

    def agree(parent: Any, answer: str, question: str, *, details: str = "") -> bool:
        asked.append(f"{question}\n{details}")
        return True

    for module in (adapter_list, backbone_list):
        monkeypatch.setattr(module, "agreed", agree)
    return asked


def names(dock: Models) -> list[str]:
    return [adapter.path.name.removesuffix(SUFFIX) for adapter in dock.adapters.adapters]


def test_nothing_can_be_done_with_an_adapter_before_one_is_listed(viewer, qtbot) -> None:
    dock = Models(viewer)
    buttons = dock.adapters.buttons
    usable = {"add", "folder"}
    assert {name for name, push in buttons.items() if push.isEnabled()} == usable
    qtbot.waitUntil(lambda: "There is no adapter yet" in dock.adapters.card.text(), timeout=WAIT_MS)
    assert {name for name, push in buttons.items() if push.isEnabled()} == usable
    dock.close()
    dock.deleteLater()


class TestAdapters:
    def test_they_are_listed_with_a_card(self, dock: Models) -> None:
        assert sorted(names(dock)) == ["new", "old"]
        title = names(dock)[0]
        assert f"<b>{title}</b>" in dock.adapters.card.text()
        assert "class 1" in dock.adapters.card.text()

    def test_a_damaged_file_is_listed_and_cannot_be_used(
        self, dock: Models, qtbot, adapters_home: Path
    ) -> None:
        (adapters_home / f"bad{SUFFIX}").write_bytes(b"no")
        qtbot.waitUntil(lambda: "bad" in names(dock), timeout=WAIT_MS)
        dock.adapters.choose(adapters_home / f"bad{SUFFIX}")
        assert "damaged" in dock.adapters.card.text()
        assert not dock.adapters.buttons["segment"].isEnabled()
        assert dock.adapters.buttons["delete"].isEnabled()

    def test_renaming(self, dock: Models, qtbot, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(QInputDialog, "getText", lambda *_, **__: ("Kerne", True))
        before = dock.adapters.chosen.path
        dock.adapters.buttons["rename"].click()
        qtbot.waitUntil(lambda: "Kerne" in names(dock), timeout=WAIT_MS)
        assert not before.exists()
        assert dock.adapters.chosen.path.name == f"Kerne{SUFFIX}"
        assert dock.status.text().startswith("Renamed ")

    def test_a_name_that_is_taken_is_refused(
        self, dock: Models, qtbot, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        other = next(n for n in names(dock) if n != names(dock)[0])
        monkeypatch.setattr(QInputDialog, "getText", lambda *_, **__: (other, True))
        dock.adapters.buttons["rename"].click()
        assert "already" in dock.status.text()
        assert len(list_adapters()) == 2
        assert "Traceback" not in log_path().read_text(encoding="utf-8")

    def test_a_name_that_cannot_be_is_refused_in_one_short_sentence(
        self, dock: Models, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        typed = "a/" + "very long " * 60
        monkeypatch.setattr(QInputDialog, "getText", lambda *_, **__: (typed, True))
        dock.adapters.buttons["rename"].click()
        assert "cannot be called 'a/very long" in dock.status.text()
        assert len(dock.status.text()) < 200
        assert "Traceback" not in log_path().read_text(encoding="utf-8")

    def test_copying_and_exporting(
        self, dock: Models, qtbot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        content = dock.adapters.chosen.path.read_bytes()
        title = names(dock)[0]
        dock.adapters.buttons["copy"].click()
        qtbot.waitUntil(lambda: f"{title}-copy" in names(dock), timeout=WAIT_MS)
        assert dock.adapters.chosen.path.read_bytes() == content
        target = tmp_path / "mine"
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(target), ""))
        dock.adapters.buttons["export"].click()
        qtbot.waitUntil((tmp_path / f"mine{SUFFIX}").exists, timeout=WAIT_MS)
        assert (tmp_path / f"mine{SUFFIX}").read_bytes() == content

    def test_an_export_says_the_name_that_the_file_got(
        self, dock: Models, qtbot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        typed = str(tmp_path / "mine.safetensors")
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (typed, ""))
        dock.adapters.buttons["export"].click()
        qtbot.waitUntil(lambda: "Exported to" in dock.status.text(), timeout=WAIT_MS)
        assert (tmp_path / f"mine{SUFFIX}").exists()
        assert dock.status.text() == f"Exported to {tmp_path / f'mine{SUFFIX}'}."

    def test_an_export_without_the_ending_overwrites_nothing(
        self, dock: Models, qtbot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / f"mine{SUFFIX}").write_bytes(b"theirs")
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "mine"), ""))
        dock.adapters.buttons["export"].click()
        qtbot.waitUntil(lambda: "exists already" in dock.status.text(), timeout=WAIT_MS)
        assert (tmp_path / f"mine{SUFFIX}").read_bytes() == b"theirs"

    def test_an_export_for_other_programs_runs_beside_the_window_and_can_be_cancelled(
        self, dock: Models, qtbot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        offered: list[str] = []

        def choose(*arguments: Any) -> tuple[str, str]:
            offered.extend(arguments[-1].split(";;"))
            return str(tmp_path / "cells"), offered[1]

        monkeypatch.setattr(QFileDialog, "getSaveFileName", choose)
        said: list[str] = []
        dock.job.updated.connect(lambda _: said.append(dock.status.text()))
        dock.adapters.buttons["export"].click()
        assert [kind.rpartition("(")[2] for kind in offered] == [
            f"*{SUFFIX})",
            "*.onnx)",
            "*.bioimageio.zip)",
        ]
        qtbot.waitUntil(lambda: any(s.startswith("Reading") for s in said), timeout=WAIT_MS)
        assert dock.cancel_button.isEnabled()
        with qtbot.waitSignal(dock.job.ended, timeout=WAIT_MS):
            dock.cancel_button.click()
        assert dock.status.text() == "Stopped; nothing was exported."
        assert not list(tmp_path.glob("cells*"))

    def test_an_export_says_what_was_checked(
        self, dock: Models, qtbot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        target = tmp_path / "cells.onnx"
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(target), ""))
        with qtbot.waitSignal(dock.job.ended, timeout=10 * WAIT_MS):
            dock.adapters.buttons["export"].click()
        said = dock.status.text()
        assert said.startswith(f"Exported to {target}. Compared with PyTorch on ")
        session = onnxruntime.InferenceSession(target, providers=["CPUExecutionProvider"])
        (probabilities,) = session.run(None, {"image": np.zeros((1, 1, 64, 64), np.float32)})
        assert probabilities.shape == (1, 2, 64, 64)

    def test_a_package_asks_for_its_authors(
        self, dock: Models, qtbot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        asked: list[ExportRequest] = []
        dock.adapters.export_wanted.disconnect()
        dock.adapters.export_wanted.connect(asked.append)
        kind = "bioimage.io package (*.bioimageio.zip)"
        target = tmp_path / f"cells{SUFFIX}"
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(target), kind))
        monkeypatch.setattr(QInputDialog, "getText", lambda *_, **__: ("", False))
        dock.adapters.buttons["export"].click()
        assert asked == []
        monkeypatch.setattr(QInputDialog, "getText", lambda *_, **__: ("A. Nobody; B. Noone", True))
        dock.adapters.buttons["export"].click()
        assert asked[0].output == tmp_path / "cells.bioimageio.zip"
        assert not asked[0].overwrite  # the dialog has asked about another name
        assert asked[0].package is not None
        assert asked[0].package.authors == ("A. Nobody", "B. Noone")

    def test_deleting_asks_and_uses_the_bin(
        self, dock: Models, qtbot, answers: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        binned: list[Path] = []

        def take(path: Path) -> None:
            binned.append(path)
            path.unlink()

        monkeypatch.setattr(adapter_list, "to_bin", take)
        path = dock.adapters.chosen.path
        dock.adapters.buttons["delete"].click()
        qtbot.waitUntil(lambda: len(names(dock)) == 1, timeout=WAIT_MS)
        assert binned == [path]
        assert answers[0].startswith("Move the adapter ")

    def test_nothing_is_deleted_when_the_user_does_not_agree(
        self, dock: Models, qtbot, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(adapter_list, "agreed", lambda *_, **__: False)
        dock.adapters.buttons["delete"].click()
        qtbot.wait(200)
        assert len(list_adapters()) == 2

    def test_adding_files_takes_the_good_ones(
        self, dock: Models, qtbot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        good, bad = tmp_path / f"good{SUFFIX}", tmp_path / f"bad{SUFFIX}"
        good.write_bytes(dock.adapters.chosen.path.read_bytes())
        bad.write_bytes(b"no")
        files = [str(bad), str(good)]
        monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *_: (files, ""))
        dock.adapters.buttons["add"].click()
        qtbot.waitUntil(lambda: "good" in names(dock), timeout=WAIT_MS)
        assert "bad" in dock.status.text()
        assert "bad" not in names(dock)

    def test_segment_opens_with_it(self, viewer, qtbot, saved_adapter) -> None:
        path = saved_adapter("cells")
        _, made = viewer.window.add_plugin_dock_widget("napari-sam2-adapters", "Models")
        qtbot.waitUntil(lambda: made.adapters.chosen is not None, timeout=WAIT_MS)
        made.adapters.buttons["segment"].click()
        (segment,) = made.window().findChildren(Segment)
        assert segment.model == path
        made.adapters.buttons["segment"].click()
        assert made.window().findChildren(Segment) == [segment]


class TestBackbones:
    def test_what_is_here_is_said(self, dock: Models) -> None:
        tree = dock.backbones.tree
        rows = [
            [tree.topLevelItem(row).text(column) for column in range(3)]
            for row in range(tree.topLevelItemCount())
        ]
        assert rows[:2] == [["mobile", "20 MB", "built in"], ["tiny", "156 MB", "not here"]]
        assert len(rows) == 5
        assert "Licence: Apache-2.0" in dock.backbones.details.text()
        dock.backbones.choose("mobile")
        assert not dock.backbones.download_button.isEnabled()
        assert "built in" in dock.backbones.download_button.toolTip()

    def test_nothing_is_downloaded_without_consent(
        self, dock: Models, weights_server: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(backbone_list, "agreed", lambda *_, **__: False)
        dock.backbones.choose("tiny")
        dock.backbones.download_button.click()
        assert not dock.job.running
        assert weights_server.asked == []

    def test_a_download_names_size_and_source_and_arrives(
        self,
        dock: Models,
        qtbot,
        weights_server: Any,
        expects: Callable[[bytes], None],
        answers: list[str],
        cache: Path,
    ) -> None:
        expects(WEIGHTS)
        dock.backbones.choose("tiny")
        with qtbot.waitSignal(dock.job.ended, timeout=WAIT_MS):
            dock.backbones.download_button.click()
        for part in ("156 MB from ", "sam2.1_hiera_tiny.pt", "Apache-2.0", str(cache)):
            assert part in answers[0]
        assert (cache / "sam2.1_hiera_tiny.pt").read_bytes() == WEIGHTS
        assert dock.status.text() == "tiny is here, and its sha256 is right."
        qtbot.waitUntil(lambda: dock.backbones.chosen.here, timeout=WAIT_MS)
        assert not dock.backbones.download_button.isEnabled()

    def test_a_cancelled_download_goes_on_later(
        self,
        dock: Models,
        qtbot,
        weights_server: Any,
        expects: Callable[[bytes], None],
        answers: list[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        cancelled, append = threading.Event(), download._Part.append

        def slowly(part: download._Part, piece: bytes) -> None:
            assert part.size < 20_000 or cancelled.wait(WAIT_MS / 1000)
            append(part, piece)

        def cancel(_: object) -> None:
            dock.cancel_button.click()
            cancelled.set()

        monkeypatch.setattr(download._Part, "append", slowly)
        monkeypatch.setattr(download, "_PIECE_BYTES", 1000)
        expects(WEIGHTS)
        dock.backbones.choose("tiny")
        dock.job.updated.connect(cancel)
        with qtbot.waitSignal(dock.job.ended, timeout=WAIT_MS):
            dock.backbones.download_button.click()
        assert dock.status.text().startswith("Stopped; what has come of tiny stays")
        dock.job.updated.disconnect()
        with qtbot.waitSignal(dock.job.ended, timeout=WAIT_MS):
            dock.backbones.download()
        assert weights_server.asked[1].startswith("bytes=")
        assert dock.status.text() == "tiny is here, and its sha256 is right."

    def test_a_wrong_checksum_is_a_sentence(
        self,
        dock: Models,
        qtbot,
        weights_server: Any,
        expects: Callable[[bytes], None],
        answers: list[str],
        cache: Path,
    ) -> None:
        expects(b"another")
        dock.backbones.choose("tiny")
        with qtbot.waitSignal(dock.job.failed, timeout=WAIT_MS):
            dock.backbones.download_button.click()
        assert "its sha256 is another" in dock.status.text()
        assert not list(cache.glob("sam2*"))
        qtbot.waitUntil(dock.backbones.download_button.isEnabled, timeout=WAIT_MS)

    def test_a_file_that_is_no_backbone_is_refused(
        self, dock: Models, qtbot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "my.pt").write_bytes(b"no")
        monkeypatch.setattr(
            QFileDialog, "getOpenFileName", lambda *_: (str(tmp_path / "my.pt"), "")
        )
        dock.backbones.choose("tiny")
        with qtbot.waitSignal(dock.job.failed, timeout=WAIT_MS):
            dock.backbones.file_button.click()
        assert "cannot be read as a PyTorch weight file" in dock.status.text()

    def test_deleting_asks_and_uses_the_bin(
        self, dock: Models, qtbot, answers: list[str], monkeypatch: pytest.MonkeyPatch, cache: Path
    ) -> None:
        cache.mkdir()
        (cache / "sam2.1_hiera_tiny.pt").write_bytes(b"x")
        dock.look_again()
        qtbot.waitUntil(lambda: dock.backbones.chosen.here, timeout=WAIT_MS)
        monkeypatch.setattr(backbone_list, "to_bin", Path.unlink)
        with qtbot.waitSignal(dock.job.ended, timeout=WAIT_MS):
            dock.backbones.delete_button.click()
        assert "cannot be used until it is back" in answers[0]
        qtbot.waitUntil(lambda: not dock.backbones.chosen.here, timeout=WAIT_MS)


def test_the_place_of_the_backbones_is_said_and_fixed_by_the_variable(
    dock: Models, qtbot, cache: Path
) -> None:
    qtbot.waitUntil(lambda: dock.folder == cache, timeout=WAIT_MS)
    assert str(cache) in dock.place.text()
    assert "free on this disk" in dock.place.text()
    assert not dock.change_button.isEnabled()
    assert "SAM2_ADAPTERS_CACHE says where" in dock.change_button.toolTip()
