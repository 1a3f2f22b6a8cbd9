"""Whether an image of a batch is to be segmented, was done or failed before, or must not be touched."""

from __future__ import annotations

from dataclasses import dataclass

from napari_sam2_adapters.batch.job import BatchOptions
from napari_sam2_adapters.batch.plan import Item
from napari_sam2_adapters.batch.report import Entry
from napari_sam2_adapters.batch.stamps import ExtraStamp

__all__ = ["Standing", "judge"]


@dataclass(frozen=True)
class Standing:
    """What is to be done with an image.

    Attributes
    ----------
    entry
        What an earlier run said of it, when it is left at that.
    refusal
        Why it must not be segmented, in a sentence.
    replace
        Whether files in the place of its results may be replaced.
    extras
        Kinds of what is to be written besides; with an entry, nothing else is to be done.
    notices
        What is left as it is although it was asked for.
    """

    entry: Entry | None = None
    refusal: str = ""
    replace: bool = False
    extras: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()


def judge(item: Item, last: Entry | None, settings_sha256: str, options: BatchOptions) -> Standing:
    """Compare the last entry of an image with the files that are there."""
    if item.refusal:
        return Standing(refusal=item.refusal)
    same_job = last is not None and last.settings_sha256 == settings_sha256
    if last is not None and same_job and _still_holds(item, last, options):
        if last.status == "failed":
            return Standing(entry=last)
        due, _ = _due_extras(item, last, options, fresh=False)
        return Standing(entry=last, replace=True, extras=due)
    foreign = [
        path for what, path in item.outputs.items() if path.exists() and not _ours(item, last, what)
    ]
    if foreign and not options.overwrite:
        return Standing(refusal=_foreign_sentence(foreign[0].name, item, last))
    # What was at work when a run was killed may still be written by a worker on another machine.
    begun = last is not None and last.status == "running" and not _of_another_image(item, last)
    due, notices = _due_extras(item, last, options, fresh=True)
    there = [*item.outputs.values(), *(item.extras[kind] for kind in due)]
    return Standing(None, "", begun or any(path.exists() for path in there), due, notices)


def _still_holds(item: Item, last: Entry, options: BatchOptions) -> bool:
    """Whether an entry of the same settings is still true, and is to be left at that."""
    wanted = options.skip_done if last.status == "done" else not options.retry_failed
    if last.status == "running" or not wanted:
        return False
    if last.source is None:  # it could not even be read, or was refused
        return last.status == "failed" and not item.source.exists()
    if not last.source.matches(item.source):
        return False
    return last.status == "failed" or all(
        what in last.outputs and last.outputs[what].matches(path)
        for what, path in item.outputs.items()
    )


def _ours(item: Item, last: Entry | None, what: str) -> bool:
    """Whether a file in the place of a result is one that an earlier run wrote for this image, unchanged."""
    if last is None or _of_another_image(item, last):
        return False
    if last.status == "running":  # killed while it wrote; before that nothing foreign was there
        return True
    return what in last.outputs and last.outputs[what].matches(item.outputs[what])


def _due_extras(
    item: Item, last: Entry | None, options: BatchOptions, *, fresh: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What is to be written besides, by kind, and a sentence for each file of the user's that lies there.

    Parameters
    ----------
    item, last, options
        As in `judge`.
    fresh
        Whether the labels are made anew, and with them all that follows from them.
    """
    known = None if last is None or _of_another_image(item, last) else last
    due, notices = [], []
    for kind, path in item.extras.items():
        stamp = None if known is None else known.extras.get(kind)
        ours = stamp is not None and path.exists() and stamp.matches(path)
        if not path.exists() or (known is not None and not ours and kind in known.writes):
            due.append(kind)
        elif ours:
            if fresh or not _of_these_labels(stamp, known):
                due.append(kind)
        elif options.overwrite:
            due.append(kind)
        else:
            notices.append(
                f"{path.name} in {path.parent.name} is not the batch's, or was changed: it is left alone."
            )
    return tuple(due), tuple(notices)


def _of_these_labels(stamp: ExtraStamp | None, entry: Entry | None) -> bool:
    if stamp is None or entry is None:
        return False
    labels = entry.outputs.get("labels")
    return (
        labels is not None
        and stamp.labels_sha256 == labels.sha256
        and stamp.settings_sha256 == entry.settings_sha256
    )


def _of_another_image(item: Item, last: Entry) -> bool:
    """Whether an entry is that of an image of the same name in another folder; a moved image is the same one."""
    moved = last.image != item.image
    return moved and not (last.source is not None and last.source.matches(item.source))


def _foreign_sentence(name: str, item: Item, last: Entry | None) -> str:
    mend = "Choose another folder, move it away, or allow results to be replaced (Replace files, --overwrite)."
    if last is not None and _of_another_image(item, last):
        return f"{name} is the result of {last.image}. {mend}"
    if last is not None and last.status == "done":
        return f"{name} was changed after it was written. {mend}"
    return f"{name} exists and is not a result of this batch. {mend}"
