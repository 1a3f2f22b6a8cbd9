"""Reading YAML that people write: nothing in it is executed, and nothing is said twice."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

__all__ = ["read_yaml"]

_BARE_COLOR = re.compile(r":\s+(#[0-9a-fA-F]{3,8})\b")
_MERGE = "tag:yaml.org,2002:merge"


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
    # Dates, numbers and answers that are none come as errors of Python's own.
    except (yaml.YAMLError, ValueError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{path} is not valid YAML: {error}. {_bare_color(path)}Correct it and try again."
        ) from error


def _bare_color(path: Path) -> str:
    """That a colour stands without quotes, whose # begins a remark, which swallows the end of a ``{…}``; empty when none does."""
    for number, line in enumerate(path.read_bytes().decode(errors="replace").splitlines(), 1):
        if found := _BARE_COLOR.search(line):
            return f'Line {number} has a colour without quotes, which YAML takes for a remark: write it as "{found[1]}". '
    return ""


class _Loader(yaml.SafeLoader):
    """YAML's loader, which takes the last of several entries of one name without a word."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """The entries of a mapping as they are written, before others are merged into them; each may be there once.

        Raises
        ------
        ConstructorError
            With the place of the second entry of a name, also where it is spelt in another way, as 1 and 0x1.
        """
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        before: set[Any] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            meant = key.value if key.tag == _MERGE else self.construct_object(key)
            if key.value in before or meant in before:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value!r} is there twice", key.start_mark
                )
            before |= {key.value, meant}
        return node
