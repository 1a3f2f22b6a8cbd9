"""How work goes through a network, in numbers and in words, also for those that load none."""

from __future__ import annotations

from dataclasses import dataclass

from napari_sam2_adapters.wording import counted

__all__ = ["MemoryPlan"]


@dataclass(frozen=True)
class MemoryPlan:
    """How large the parts are in which work goes through the network.

    Attributes
    ----------
    what
        What a part is made of: ``tile`` or ``crop``.
    device
        Where it is computed.
    side_px, at_once
        Side of one of them, and how many go through together.
    wanted_px
        Side that was asked for.
    needed_bytes
        What they are expected to take at once; 0 when it could not be measured.
    usable_bytes
        What they may take.
    """

    what: str
    device: str
    side_px: int
    at_once: int
    wanted_px: int
    needed_bytes: int
    usable_bytes: int

    @property
    def fits(self) -> bool:
        """Whether it should not take more than it may; what could not be measured takes something."""
        return max(1, self.needed_bytes) <= self.usable_bytes

    @property
    def sentence(self) -> str:
        """The plan in words."""
        parts = f"{counted(self.at_once, self.what)} of {self.side_px} px at a time"
        usable = f"{self.usable_bytes / 1e9:.1f} GB"
        if not (self.needed_bytes or self.usable_bytes):
            return f"Memory plan: {parts}; no more of the memory of {self.device} may be used, and it is tried all the same."
        if not self.needed_bytes:
            return f"Memory plan: {parts}; {usable} of the memory of {self.device} may be used."
        needed = f"{max(self.needed_bytes / 1e9, 0.01):.2f} GB"
        if not self.fits:
            return (
                f"Memory plan: {parts}, about {needed}, which is more than the {self.usable_bytes / 1e9:.2f} GB that may be used on "
                f"{self.device}; it is tried all the same."
            )
        return f"Memory plan: {parts}, about {needed} of the {usable} that may be used on {self.device}."

    @property
    def notice(self) -> str | None:
        """A sentence when the parts are smaller than was asked for; else None."""
        if self.side_px == self.wanted_px:
            return None
        return (
            f"A {self.what} of {self.wanted_px} px would take more than the {self.usable_bytes / 1e9:.2f} GB that may be used on "
            f"{self.device}: {self.what}s of {self.side_px} px are taken."
        )
