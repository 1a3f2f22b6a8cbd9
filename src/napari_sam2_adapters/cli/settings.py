"""Settings from a YAML file with flags over it.

The flags are made from the settings classes themselves, so that names, descriptions and bounds are written once.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import typer
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from napari_sam2_adapters.cli.settings_file import load_settings
from napari_sam2_adapters.config import (
    ClassInfo,
    Settings,
    default_classes,
    describe_errors,
)
from napari_sam2_adapters.wording import as_written

__all__ = [
    "Sections",
    "any_number",
    "build_settings",
    "read_classes",
    "read_sections",
    "settings_flags",
    "whole_number",
]

Sections = dict[str, dict[str, Any]]
"""Settings as given, by section (``model``, ``train``, …) and field."""

_QUOTES = (
    'Put it in quotes, as in name: "yes" or color: "#3b6ea5": without them YAML takes yes and no for true and false, digits for a number, '
    "and what follows a # for a remark."
)

_Command = Callable[..., None]
_SettingsT = TypeVar("_SettingsT", bound=Settings)


def settings_flags(
    *,
    leave_out: Collection[str] = (),
    defaults: Mapping[str, str] | None = None,
    **sections: type[Settings],
) -> Callable[[_Command], _Command]:
    """Give a command a flag for every field of some settings classes.

    The command's parameter ``flags`` receives `Sections` with the flags that were given and nothing else. A field
    that stands in two sections (``seed``) has one flag for both.

    Parameters
    ----------
    leave_out
        Fields that get no flag.
    defaults
        What help says of a field whose default is that of the command rather than that of the settings class.
    **sections
        Section name and its class.
    """

    def decorate(command: _Command) -> _Command:
        fields: dict[str, list[tuple[str, FieldInfo]]] = {}
        for section, settings in sections.items():
            for name, field in settings.model_fields.items():
                if name not in leave_out:
                    fields.setdefault(name, []).append((section, field))

        @functools.wraps(command)
        def with_flags(**given: Any) -> None:
            chosen = {name: given.pop(name) for name in fields}
            flags = {
                section: {
                    name: value
                    for name, value in chosen.items()
                    if value is not None and name in settings.model_fields
                }
                for section, settings in sections.items()
            }
            command(flags=flags, **given)

        _take_signature(with_flags, command, fields, defaults or {})
        return with_flags

    return decorate


def _take_signature(
    target: _Command,
    command: _Command,
    fields: dict[str, list[tuple[str, FieldInfo]]],
    defaults: Mapping[str, str],
) -> None:
    hints = get_type_hints(command, include_extras=True)
    keyword = inspect.Parameter.KEYWORD_ONLY
    own = [
        parameter.replace(annotation=hints[name], kind=keyword)
        for name, parameter in inspect.signature(command).parameters.items()
        if name != "flags"
    ]
    made = [
        inspect.Parameter(
            name, keyword, default=None, annotation=_flag(name, places, defaults.get(name))
        )
        for name, places in fields.items()
    ]
    target.__signature__ = inspect.Signature([*own, *made])  # type: ignore[attr-defined]
    target.__annotations__ = {p.name: p.annotation for p in (*own, *made)}


def _flag(name: str, places: list[tuple[str, FieldInfo]], said_default: str | None) -> Any:
    section, field = places[0]
    dashed = name.replace("_", "-")
    simple, metavar = _simple_type(field.annotation)
    default = "" if field.default is None else f" Default: {said_default or _shown(field.default)}."
    return Annotated[
        simple | None,
        typer.Option(
            f"--{dashed}/--no-{dashed}" if simple is bool else f"--{dashed}",
            help=" ".join(str(f.description) for _, f in places) + _choices(field) + default,
            show_default=False,
            rich_help_panel=f"Settings of the section '{section}'",
            metavar=metavar,
            parser={int: whole_number, float: any_number}.get(simple),
        ),
    ]


def whole_number(text: str) -> int:
    """Read a whole number; typer's own sentence for what is none differs from version to version.

    Raises
    ------
    typer.BadParameter
        When it is none.
    """
    try:
        return int(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not a whole number.") from error


def any_number(text: str) -> float:
    """Read a number.

    Raises
    ------
    typer.BadParameter
        When it is none.
    """
    try:
        return float(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not a number.") from error


def _shown(default: object) -> str:
    if isinstance(default, bool):
        return "yes" if default else "no"
    return str(default)


def _choices(field: FieldInfo) -> str:
    """What may be chosen, where the description does not name all of it as it is typed."""
    choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    if all(str(choice) in str(field.description) for choice in choices):
        return ""
    return f" One of {', '.join(map(str, choices))}."


def _simple_type(annotation: Any) -> tuple[Any, str | None]:
    """The type that a terminal can give for a field, which the settings class checks further, and how help shows it."""
    if get_origin(annotation) in (Union, UnionType):
        (annotation,) = (part for part in get_args(annotation) if part is not NoneType)
    if get_origin(annotation) is Literal:
        return str, "<choice>"
    return annotation, {int: "<int>", float: "<float>"}.get(annotation)


def read_sections(path: Path | None, flags: Sections) -> dict[str, Any]:
    """Read the YAML file, if any, and lay the flags over it.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When the file cannot be read as settings.
    """
    content: dict[str, Any] = dict(load_settings(path)) if path else {}
    for section, given in flags.items():
        below = content.get(section) or {}
        if not isinstance(below, dict):
            raise ValueError(
                f"The section {section!r} of {path} should hold settings such as 'seed: 1', but is {below!r}. Correct the file."
            )
        content[section] = {**below, **given}
    return content


def build_settings(kind: type[_SettingsT], sections: dict[str, Any], section: str) -> _SettingsT:
    """Check one section and make its settings.

    Raises
    ------
    ValueError
        When a setting is unknown or out of its bounds.
    """
    try:
        return kind.model_validate(sections.get(section) or {})
    except ValidationError as error:
        wrong = describe_errors(error, known=kind.model_fields, of=section)
        raise ValueError(
            f"The {section} settings are not valid. {wrong}{_advise_quotes(error)}"
        ) from error


def read_classes(sections: dict[str, Any]) -> tuple[ClassInfo, ...] | None:
    """The classes named in the YAML file, or None when it names none.

    Raises
    ------
    ValueError
        When ``classes`` is not a list of value, name and colour.
    """
    entries = sections.get("classes")
    if entries is None:
        return None
    if not isinstance(entries, list) or not entries:
        raise ValueError(
            f"'classes' should be a list such as '- {{value: 1, name: cell}}', but is {entries!r}. Correct the file."
        )
    classes = tuple(map(_read_class, entries))
    palette = {entry.value: entry.color for entry in default_classes([c.value for c in classes])}
    return tuple(
        entry
        if "color" in entry.model_fields_set
        else entry.model_copy(update={"color": palette[entry.value]})
        for entry in classes
    )


def _read_class(entry: object) -> ClassInfo:
    try:
        return ClassInfo.model_validate(entry)
    except ValidationError as error:
        wrong = describe_errors(error, known=ClassInfo.model_fields, of="a class")
        raise ValueError(
            f"The class '{as_written(entry)}' is not valid. {wrong}{_advise_quotes(error)}"
            if isinstance(entry, dict)
            else f"The class {entry!r} is not valid. Write it as '- {{value: 1, name: cell}}'."
        ) from error


def _advise_quotes(error: ValidationError) -> str:
    """What to do where YAML has made something else of a text; empty where it has not."""
    made_other = any(
        finding["type"] in ("string_type", "color") and not isinstance(finding["input"], str)
        for finding in error.errors()
    )
    return f" {_QUOTES}" if made_other else ""
