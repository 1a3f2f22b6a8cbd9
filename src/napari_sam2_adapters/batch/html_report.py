"""``report.html``: what became of a batch on one page, with everything inside that it shows."""

from __future__ import annotations

import base64
import io
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from napari_sam2_adapters.atomic import write_atomically
from napari_sam2_adapters.batch.html_style import STYLE
from napari_sam2_adapters.batch.plan import REPORT_HTML, Item, printable
from napari_sam2_adapters.batch.report import Entry
from napari_sam2_adapters.config import ClassInfo
from napari_sam2_adapters.data.packed_split import DIVISION
from napari_sam2_adapters.wording import counted

if TYPE_CHECKING:
    from napari_sam2_adapters.batch.scheme import Scheme
    from napari_sam2_adapters.models.model_file import AdapterHeader

__all__ = ["MOST_PICTURES", "is_batch_page", "write_html_report"]

MOST_PICTURES = 400
"""Pictures on the page, some 10 kB each; the others are named with their shares."""
_PICTURE_PX = 240
_JPEG_QUALITY = 82
_MARK = '<meta name="generator" content="napari-sam2-adapters batch">'
_ADAPTER_NAMES = {"lw": "LW", "hp": "HP", "lora": "LoRA"}


def write_html_report(scheme: Scheme, entries: Sequence[Entry]) -> None:
    """Write the page into the folder of the results; a file of this name from elsewhere is left alone, with a warning.

    Parameters
    ----------
    scheme
        The job.
    entries
        The last of each image that is done or has failed.
    """
    path = scheme.job.output / REPORT_HTML
    if path.exists() and not is_batch_page(path):
        warnings.warn(
            f"{path} was not written by a batch and is left alone. Move it away to get a report.",
            stacklevel=2,
        )
        return
    content = _page(scheme, entries).encode("utf-8", "xmlcharrefreplace")
    write_atomically(path, lambda file: file.write(content), overwrite=True)


def is_batch_page(path: Path) -> bool:
    """Whether a file is a page that a batch wrote."""
    return path.is_file() and _MARK.encode() in path.read_bytes()[:2000]


def _page(scheme: Scheme, entries: Sequence[Entry]) -> str:
    title = printable(scheme.job.output.absolute())
    failed = [entry for entry in entries if entry.status == "failed"]
    done = [entry for entry in entries if entry.status == "done"]
    items = {item.name: item for item in scheme.items}
    parts = [
        f"<header><h1>Batch report</h1><p>{_text(title)}</p></header>",
        _numbers(scheme, done, failed),
        _overall(done, scheme.header.classes),
        _failures(failed),
        _gallery(done, items, scheme),
        _settings(scheme),
        _model_card(scheme.header, scheme.job.model, scheme.model_sha256),
        f"<footer>napari-sam2-adapters {_text(version('napari-sam2-adapters'))}, {time.strftime('%Y-%m-%d %H:%M')}</footer>",
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'{_MARK}<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Batch report: {_text(scheme.job.output.name)}</title><style>{STYLE}</style></head>\n"
        "<body><main>\n" + "\n".join(part for part in parts if part) + "\n</main></body></html>\n"
    )


def _numbers(scheme: Scheme, done: Sequence[Entry], failed: Sequence[Entry]) -> str:
    left = len(scheme.items) - len({e.name for e in (*done, *failed)} & _names(scheme.items))
    seconds = sum(entry.seconds for entry in done)
    pixels = sum(sum(entry.pixels.values()) for entry in done)
    shown = [("done", f"{len(done):,}", "good"), ("failed", f"{len(failed):,}", "bad")]
    shown += [("not done yet", f"{left:,}", "")] if left else []
    shown += [("megapixels", f"{pixels / 1e6:,.1f}", ""), ("of work", _duration(seconds), "")]
    cells = "".join(
        f'<div class="number {kind}"><b>{value}</b><span>{name}</span></div>'
        for name, value, kind in shown
        if value != "0" or kind != "bad"
    )
    return f'<section class="numbers">{cells}</section>'


def _names(items: Iterable[Item]) -> set[str]:
    return {item.name for item in items}


def _overall(done: Sequence[Entry], classes: Sequence[ClassInfo]) -> str:
    if not done:
        return ""
    total = {entry.name: 0 for entry in classes}
    for image in done:
        for name, number in image.pixels.items():
            total[name] = total.get(name, 0) + number
    rows = "".join(
        f'<tr><td><i class="swatch" style="background:{info.color}"></i>{_text(info.name)}</td>'
        f'<td class="right">{_percent(total[info.name], total)}</td><td class="right">{total[info.name]:,} px</td></tr>'
        for info in classes
    )
    return (
        f"<section><h2>Share of each class</h2>{_bar(total, classes)}"
        f"<table class='shares'>{rows}</table></section>"
    )


def _bar(pixels: Mapping[str, int], classes: Sequence[ClassInfo]) -> str:
    """A bar of the classes' shares, in their colours."""
    total = sum(pixels.values()) or 1
    parts = "".join(
        f'<i style="width:{100 * pixels.get(info.name, 0) / total:.3f}%;background:{info.color}" '
        f'title="{_text(info.name)} {_percent(pixels.get(info.name, 0), pixels)}"></i>'
        for info in {info.name: info for info in classes}.values()
        if pixels.get(info.name, 0)
    )
    return f'<div class="bar">{parts}</div>'


def _failures(failed: Sequence[Entry]) -> str:
    if not failed:
        return ""
    rows = "".join(
        f"<tr><td class='name'>{_text(entry.name)}</td><td>{_text(entry.reason)}</td></tr>"
        for entry in failed
    )
    return (
        f"<section><h2>{counted(len(failed), 'image')} failed</h2><table class='failures'>"
        f"<tr><th>Image</th><th>Why</th></tr>{rows}</table></section>"
    )


def _gallery(done: Sequence[Entry], items: Mapping[str, Item], scheme: Scheme) -> str:
    if not done:
        return ""
    figures = [_figure(entry, _overlay_of(entry, items), scheme) for entry in done[:MOST_PICTURES]]
    rest = ""
    if len(done) > MOST_PICTURES:
        rows = "".join(
            f"<tr><td class='name'>{_text(entry.name)}</td><td>{_shares(entry, scheme.header.classes)}</td></tr>"
            for entry in done[MOST_PICTURES:]
        )
        rest = (
            f"<details><summary>{counted(len(done) - MOST_PICTURES, 'more image')}, without pictures</summary>"
            f"<table>{rows}</table></details>"
        )
    return f"<section><h2>Images</h2><div class='gallery'>{''.join(figures)}</div>{rest}</section>"


def _overlay_of(entry: Entry, items: Mapping[str, Item]) -> Path | None:
    """The picture of an image, if it is there and made from the labels that are there now."""
    item, stamp, labels = (
        items.get(entry.name),
        entry.extras.get("overlay"),
        entry.outputs.get("labels"),
    )
    if item is None or stamp is None or labels is None or "overlay" not in item.extras:
        return None
    path = item.extras["overlay"]
    current = stamp.labels_sha256 == labels.sha256 and stamp.untouched(path)
    return path if current else None


def _figure(entry: Entry, overlay: Path | None, scheme: Scheme) -> str:
    picture = '<div class="none">no picture</div>'
    if overlay is not None:
        place = quote(overlay.relative_to(scheme.job.output).as_posix(), errors="surrogateescape")
        picture = f'<a href="{place}"><img alt="" loading="lazy" src="{_inline(overlay)}"></a>'
    notices = "".join(f'<p class="notice">{_text(notice)}</p>' for notice in entry.notices)
    return (
        f'<figure>{picture}{_bar(entry.pixels, scheme.header.classes)}<figcaption><b title="{_text(entry.image)}">'
        f"{_text(entry.name)}</b><span>{_shares(entry, scheme.header.classes)}</span>{notices}</figcaption></figure>"
    )


def _inline(path: Path) -> str:
    """A picture as text within the page."""
    from PIL import Image

    with Image.open(path) as picture:
        picture.thumbnail((_PICTURE_PX, _PICTURE_PX))
        encoded = io.BytesIO()
        picture.convert("RGB").save(encoded, "JPEG", quality=_JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(encoded.getvalue()).decode('ascii')}"


def _shares(entry: Entry, classes: Sequence[ClassInfo]) -> str:
    names = dict.fromkeys(info.name for info in classes)
    return ", ".join(
        f"{_text(name)} {_percent(entry.pixels.get(name, 0), entry.pixels)}" for name in names
    )


def _settings(scheme: Scheme) -> str:
    job, predict = scheme.job, scheme.predict
    source = job.folder if job.folder is not None else counted(len(job.files), "chosen file")
    rows = {
        "Images": printable(source.absolute()) if isinstance(source, Path) else source,
        "Pattern": job.pattern,
        "Subfolders": "yes" if job.subfolders or "**" in job.pattern else "no",
        "Masks as": job.label_format,
        **{
            field.title or name: _value(getattr(predict, name))
            for name, field in type(predict).model_fields.items()
        },
        "Device": job.device,
        "Checksum of the settings": scheme.settings_sha256,
    }
    return f"<section><h2>Settings</h2>{_rows(rows)}</section>"


def _model_card(header: AdapterHeader, path: Path, sha256: str) -> str:
    size = " × ".join(f"{length:g}" for length in header.pixel_size or ())
    rows = {
        "File": path.name,
        "Backbone": header.model.backbone,
        "Adapter": _ADAPTER_NAMES.get(header.model.adapter, header.model.adapter),
        "Channels": str(header.model.input_channels),
        "Pixel size": f"{size} {header.unit or 'px'}" if size else "",
        "Grey values": f"{header.normalization.mode} {header.normalization.low:g} to {header.normalization.high:g}",
        **{f"Held-out {name}": _value(value) for name, value in header.scores.items()},
        **{
            f"Training: {name}": _value(value)
            for name, value in header.training.items()
            if name != DIVISION
        },
        "Checksum": sha256,
    }
    classes = "".join(
        f'<li><i class="swatch" style="background:{info.color}"></i>{_text(info.name)} ({info.value})</li>'
        for info in header.classes
    )
    return f"<section><h2>Model</h2><ul class='classes'>{classes}</ul>{_rows(rows)}</section>"


def _rows(rows: Mapping[str, str]) -> str:
    cells = "".join(
        f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>" for name, value in rows.items() if value
    )
    return f"<dl>{cells}</dl>"


def _value(value: object) -> str:
    """A setting or score as people write it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_value(part)}" for name, part in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_value, value))
    return str(value)


def _percent(part: int, pixels: Mapping[str, int]) -> str:
    share = 100 * part / (sum(pixels.values()) or 1)
    number = "0" if share == 0 else "&lt;1" if share < 1 else f"{share:.0f}"
    return f"{number}&nbsp;%"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def _text(text: str) -> str:
    """Text that names of files and classes cannot turn into anything else."""
    return escape(text.encode("utf-8", "backslashreplace").decode("utf-8"))
