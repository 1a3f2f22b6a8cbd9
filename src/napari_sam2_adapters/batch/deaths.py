"""How often workers died, and what is not tried again because of it."""

from __future__ import annotations

__all__ = ["Deaths"]

_MOST_DEATHS = 2
"""An image whose worker dies so often at the same place is given up, and a run whose workers die so often each while they load the model."""


class Deaths:
    """Those of the workers of one run."""

    def __init__(self) -> None:
        self._early = 0
        self._of_images: dict[tuple[int, int | None], list[str]] = {}

    def count_early(self, workers: int) -> None:
        """Count a worker that died while it loaded the model, among so many that are left.

        Raises
        ------
        ConnectionError
            When too many have.
        """
        self._early += 1
        if self._early > _MOST_DEATHS * max(2, workers):
            raise ConnectionError(
                "The workers of the cluster die while they load the model. Look into their logs; perhaps their memory is too small."
            )

    def count(self, image: int, place: int | None, address: str) -> str:
        """Count a worker that died at an image, or at a place in a huge one; why that is given up, or nothing when it is tried again."""
        addresses = self._of_images.setdefault((image, place), [])
        addresses.append(address)
        if len(addresses) < _MOST_DEATHS:
            return ""
        return (
            f"The worker that segmented it died without a word, twice ({', '.join(addresses)}). "
            "Perhaps the memory was full: try it on a machine with more."
        )
