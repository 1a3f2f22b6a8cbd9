"""The YAML file of settings: a section for each group of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari_sam2_adapters.config.yaml_file import read_yaml
from napari_sam2_adapters.wording import did_you_mean

__all__ = ["load_settings"]


def load_settings(path: Path) -> dict[str, dict[str, Any]]:
    """Read a YAML file of settings.

    Parameters
    ----------
    path
        A file with any of the sections ``model``, ``train``, ``predict``, ``normalization``, ``cluster`` and ``extras``;
        ``classes`` may be a list of value, name and colour.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When the file is not YAML, says something twice or has a section that does not exist.
    """
    content = read_yaml(path, "settings file")
    known = {"model", "train", "predict", "normalization", "classes", "cluster", "extras"}
    if content is None:
        return {}
    if not isinstance(content, dict) or not set(content) <= known:
        got = (
            sorted(map(str, content))
            if isinstance(content, dict)
            else f"none ({type(content).__name__})"
        )
        strange = [name for name in got if name not in known] if isinstance(got, list) else []
        hint = f" ({strange[0]}: {did_you_mean(strange[0], sorted(known))})" if strange else ""
        raise ValueError(
            f"{path} should have the sections {', '.join(sorted(known))}, but has {got}{hint}. Rename or remove the others."
        )
    return content
