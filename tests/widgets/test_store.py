import os
from pathlib import Path

from napari_sam2_adapters.widgets._store import SUFFIX, list_adapters, new_adapter_path


def test_names_are_safe_and_free(adapters_home: Path) -> None:
    path = new_adapter_path("my image: 3/4 – hp")
    assert path.parent == adapters_home
    assert path.name == f"my-image-3-4-hp{SUFFIX}"
    path.touch()
    assert new_adapter_path("my image: 3/4 – hp").name == f"my-image-3-4-hp-2{SUFFIX}"


def test_the_newest_comes_first() -> None:
    paths = [new_adapter_path(name) for name in ("a", "b", "c")]
    for age, path in zip((1, 3, 2), paths, strict=True):
        path.touch()
        os.utime(path, (age, age))
    assert list_adapters() == [paths[1], paths[2], paths[0]]
