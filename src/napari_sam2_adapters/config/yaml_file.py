"""Reading YAML that people write: nothing in it is executed, and nothing is said twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

__all__ = ["read_yaml"]


def read_yaml(path: Path, what: str) -> Any:
    """What a YAML file holds; None when it is empty.

    Parameters
    ----------
    path
        The file.
    what
        What it is called when it is missing, such as ``settings file``.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When it is not YAML, or says something twice.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no {what} {path}. Check the path.")
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 (which is a safe one)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} is not valid YAML: {error}. Correct that line and try again."
        ) from error


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
