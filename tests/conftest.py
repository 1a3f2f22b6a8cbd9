"""A network small enough for tests: a Hiera with four narrow blocks and SAM's real decoder, randomly initialised."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings

from napari_sam2_adapters.config import ClassInfo, ModelConfig, default_classes
from napari_sam2_adapters.models import backbone_files
from napari_sam2_adapters.models.backbone import HieraBackbone, HieraShape
from napari_sam2_adapters.models.backbone_files import BACKBONES
from napari_sam2_adapters.models.decoder import SamHeads
from napari_sam2_adapters.models.segmenter import Segmenter, assemble
from simulated_card import simulated_card

# The same examples each time and on any machine; `pytest --hypothesis-profile default` looks for others.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")

TINY_SHAPE = HieraShape(
    embed_dim=16,
    num_heads=1,
    stages=(1, 1, 2, 1),
    window_spec=(8, 4, 14, 7),
    global_att_blocks=(3,),
    window_pos_embed_bkg_spatial_size=(7, 7),
)


def random_parts(seed: int = 0) -> tuple[HieraBackbone, SamHeads]:
    """Backbone and heads with random weights, also where SAM2's constructors leave zeros."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone, heads = HieraBackbone(TINY_SHAPE), SamHeads(sam2=True)
        with torch.no_grad():
            for parameter in (
                backbone.trunk.pos_embed,
                backbone.trunk.pos_embed_window,
                backbone.no_mem_embed,
            ):
                parameter.normal_(std=0.1)
    return backbone, heads


def make_tiny_segmenter(
    adapter: str = "lw",
    n_classes: int = 3,
    input_channels: int = 1,
    classes: tuple[ClassInfo, ...] | None = None,
    **settings: Any,
) -> Segmenter:
    config = ModelConfig(
        backbone="tiny", adapter=adapter, input_channels=input_channels, **settings
    )
    backbone, heads = random_parts()
    return assemble(
        backbone, heads, config, classes or default_classes(list(range(1, n_classes + 1)))
    )


@pytest.fixture(scope="session")
def tiny_segmenter() -> Callable[..., Segmenter]:
    """Factory of small segmenters: ``tiny_segmenter(adapter="hp", n_classes=2, input_channels=3, …)``."""
    return make_tiny_segmenter


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    # Two threads on two busy cores wait for each other: the small networks of these tests ran many times slower.
    torch.set_num_threads(1)


@pytest.fixture
def card() -> Iterator[torch.device]:
    """A graphics card, simulated by the CPU."""
    with simulated_card() as device:
        yield device


SERVED = bytes(range(256)) * 300
"""Stands for an official file: nobody looks inside before it is loaded."""


class _WeightsServer(BaseHTTPRequestHandler):
    """Offers `SERVED`; ``cut_at`` says after how many bytes each of the next connections breaks."""

    server: Any

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "")
        self.server.asked.append(wanted)
        if self.path != "/sam2.1_hiera_tiny.pt":
            self.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if start >= len(SERVED):
            self.send_error(416)
            return
        resumed = start and self.server.resumes
        content = SERVED[start:] if resumed else SERVED
        self.send_response(206 if resumed else 200)
        self.send_header("Content-Length", str(len(content)))
        if resumed:
            self.send_header("Content-Range", f"bytes {start}-{len(SERVED) - 1}/{len(SERVED)}")
        self.end_headers()
        self.wfile.write(content[: self.server.cuts.pop(0) if self.server.cuts else None])

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def weights_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    """A server on this machine that offers `SERVED` as the official file of tiny."""
    running = ThreadingHTTPServer(("127.0.0.1", 0), _WeightsServer)
    running.asked, running.cuts, running.resumes = [], [], True  # type: ignore[attr-defined]
    thread = threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    monkeypatch.setattr(
        backbone_files, "_ADDRESS", f"http://127.0.0.1:{running.server_address[1]}/"
    )
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


@pytest.fixture
def expects(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    """Say what the official file of tiny holds."""
    return lambda content: monkeypatch.setitem(
        BACKBONES, "tiny", replace(BACKBONES["tiny"], sha256=hashlib.sha256(content).hexdigest())
    )


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 160 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(place)]
    if sys.platform != "linux" or subprocess.run(mount, check=False).returncode:
        pytest.skip("no small disk can be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)
