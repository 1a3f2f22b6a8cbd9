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
        # PyYAML has a name for the text it reads, which means nothing to who wrote the file.
        told = str(error).replace('in "<unicode string>", ', "in ")
        raise ValueError(
            f"{path} is not valid YAML: {told}. {_bare_color(path)}Correct it and try again."
        ) from error


def _bare_color(path: Path) -> str:
    """That a colour stands without quotes, whose # begins a remark, which swallows the end of a ``{…}``; empty when none does."""
    for number, line in enumerate(path.read_bytes().decode(errors="replace").splitlines(), 1):
        if found := _BARE_COLOR.search(line):
            return f'Line {number} has a colour without quotes, which YAML takes for a remark: write it as "{found[1]}". '
    return ""


class _Loader(yaml.SafeLoader):
    """YAML's loader with what it leaves out: an entry that is there twice, and the order in which merged ones count."""

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

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Put the entries that ``<<`` names into a mapping, whose own count before them.

        Of several mappings the first counts, as `YAML's merge key <https://yaml.org/type/merge.html>`_ says:
        PyYAML 6.0.4 takes the first or the last by how long the name of an entry is.

        Raises
        ------
        ConstructorError
            When something else than a mapping is merged.
        """
        merged = [value for key, value in node.value if key.tag == _MERGE]
        if not merged:
            return
        # Set before what is merged is flattened, so that a mapping that merges itself ends.
        node.value = own = [pair for pair in node.value if pair[0].tag != _MERGE]
        sources: list[yaml.Node] = []
        for value in merged:
            sources += value.value if isinstance(value, yaml.SequenceNode) else [value]
        entries: dict[Any, tuple[yaml.Node, yaml.Node]] = {}
        for source in reversed(sources):
            if not isinstance(source, yaml.MappingNode):
                found = "a list" if isinstance(source, yaml.SequenceNode) else repr(source.value)
                raise yaml.constructor.ConstructorError(
                    "while constructing a mapping",
                    node.start_mark,
                    f"expected a mapping or a list of mappings to merge, but found {found}",
                    source.start_mark,
                )
            self.flatten_mapping(source)
            entries.update((self._meant(pair[0]), pair) for pair in source.value)
        entries.update((self._meant(pair[0]), pair) for pair in own)
        node.value = list(entries.values())

    def _meant(self, key: yaml.Node) -> Any:
        """What the name of an entry stands for; a list or a mapping, which YAML's loader refuses as a name, for itself."""
        return self.construct_object(key) if isinstance(key, yaml.ScalarNode) else key
