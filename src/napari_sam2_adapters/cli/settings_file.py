"""The YAML file of settings: a section for each group of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

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
    if not path.is_file():
        raise FileNotFoundError(f"There is no settings file {path}. Check the path.")
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 (which is a safe one)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} is not valid YAML: {error}. Correct that line and try again."
        ) from error
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


class _Loader(yaml.SafeLoader):
    """YAML's loader, which takes the last of several entries of one name without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The entries of a mapping, each of which may be there once.

        Raises
        ------
        ConstructorError
            With the place of the second entry of a name.
        """
        names = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for number, key in enumerate(names):
            if key.value in [before.value for before in names[:number]]:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value!r} is there twice", key.start_mark
                )
        return super().construct_mapping(node, deep=deep)
