from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from napari_sam2_adapters.cli import app
from napari_sam2_adapters.models import backbone_files

CONTENT = b"not really weights" * 300


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None: ...


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that is served in place of the official address, and an empty cache."""
    folder = tmp_path / "served"
    folder.mkdir()
    monkeypatch.setenv("SAM2_ADAPTERS_CACHE", str(tmp_path / "cache"))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        monkeypatch.setattr(backbone_files, "_ADDRESS", f"http://127.0.0.1:{http.server_port}/")
        yield folder
        http.shutdown()
        thread.join()


@pytest.mark.parametrize("command", [["backbones"], ["backbones", "list"]])
def test_list_says_what_is_here(server: Path, command: list[str]) -> None:
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0
    lines = {line.split()[0]: line for line in result.stdout.splitlines()}
    assert "built in" in lines["mobile"]
    assert all(" no " in lines[name] for name in ("tiny", "small", "base_plus", "large"))


def test_download_checks_the_sum_and_knows_what_is_here(
    server: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = replace(backbone_files.BACKBONES["tiny"], sha256=hashlib.sha256(CONTENT).hexdigest())
    monkeypatch.setitem(backbone_files.BACKBONES, "tiny", entry)
    (server / entry.file_name).write_bytes(CONTENT)
    result = CliRunner().invoke(app, ["backbones", "download", "tiny"], input="y\n")
    assert result.exit_code == 0, result.output
    assert "156 MB" in result.stdout
    assert entry.sha256 in result.stdout
    assert (tmp_path / "cache" / entry.file_name).read_bytes() == CONTENT
    again = CliRunner().invoke(app, ["backbones", "download", "tiny"])
    assert again.exit_code == 0
    assert "here already" in again.stdout


def test_nothing_is_downloaded_without_consent(server: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["backbones", "download", "tiny"], input="n\n")
    assert result.exit_code == 1
    assert not (tmp_path / "cache").exists()


def test_a_wrong_checksum_and_a_missing_file_fail_in_a_sentence(
    server: Path, tmp_path: Path
) -> None:
    missing = CliRunner().invoke(app, ["backbones", "download", "tiny", "--yes"])
    assert missing.exit_code == 1
    assert "404" in missing.stderr
    (server / "sam2.1_hiera_tiny.pt").write_bytes(CONTENT)
    wrong = CliRunner().invoke(app, ["backbones", "download", "tiny", "--yes"])
    assert wrong.exit_code == 1
    assert "--from FILE" in wrong.stderr
    assert "Traceback" not in wrong.output
    assert not list((tmp_path / "cache").glob("*.pt"))


def test_an_own_file_must_hold_the_backbone(server: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.pt"
    own.write_bytes(CONTENT)
    result = CliRunner().invoke(app, ["backbones", "download", "tiny", "--from", str(own)])
    assert result.exit_code == 2
    assert "own.pt" in result.stderr
    absent = CliRunner().invoke(app, ["backbones", "download", "tiny", "--from", "nowhere.pt"])
    assert absent.exit_code == 2
    unknown = CliRunner().invoke(app, ["backbones", "download", "huge", "--yes"])
    assert unknown.exit_code == 2
    assert "base_plus" in unknown.stderr


def test_an_own_file_that_holds_the_backbone_is_taken_over(server: Path, tmp_path: Path) -> None:
    import torch
    from sam2.build_sam import build_sam2

    state = build_sam2("configs/sam2.1/sam2.1_hiera_t.yaml", device="cpu").state_dict()
    # one number repeated without memory: a file of 0.2 MB
    hollow = {
        n: t.reshape(-1)[:1].clone().expand(t.numel()).view(t.shape) for n, t in state.items()
    }
    own = tmp_path / "my weights.pt"
    torch.save({"model": hollow}, own)
    result = CliRunner().invoke(app, ["backbones", "download", "tiny", "--from", str(own)])
    assert result.exit_code == 0, result.output
    (kept,) = (tmp_path / "cache").iterdir()
    assert result.stdout == f"tiny is ready: {kept}\n"
    assert kept.read_bytes() == own.read_bytes()
    listed = CliRunner().invoke(app, ["backbones", "list"]).stdout.splitlines()
    assert any(line.startswith("tiny") and " own file " in line for line in listed)
    assert listed[-1].endswith(f"lie in {tmp_path / 'cache'}.")  # whole, however long
