from __future__ import annotations

import pytest

from napari_sam2_adapters.batch.deaths import Deaths


def test_an_image_is_given_up_at_the_second_death() -> None:
    deaths = Deaths()
    assert deaths.count(3, None, "tcp://a:1") == ""
    assert deaths.count(4, None, "tcp://b:1") == ""  # another image
    reason = deaths.count(3, None, "tcp://c:1")
    assert "tcp://a:1, tcp://c:1" in reason


def test_the_parts_of_an_image_are_counted_apart() -> None:
    deaths = Deaths()
    assert [deaths.count(0, place, "tcp://a:1") for place in (None, 0, 1)] == ["", "", ""]
    assert deaths.count(0, 1, "tcp://a:1")


def test_a_run_ends_when_too_many_die_while_they_load_the_model() -> None:
    deaths = Deaths()
    for _ in range(6):
        deaths.count_early(workers=3)
    with pytest.raises(ConnectionError, match="while they load the model"):
        deaths.count_early(workers=3)
