"""Strict TOML files: read one into a model, or say in one sentence what is wrong and what to write instead."""

from __future__ import annotations

import datetime
import difflib
import json
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from hpcmat.errors import InputError

Model = TypeVar("Model", bound=BaseModel)
Location = tuple[int | str, ...]

_PRIORITY = ("extra_forbidden", "union_tag_invalid", "union_tag_not_found", "missing")
"""An unknown key comes first: it often is the misspelt form of the one that is missing."""

_TYPE_NAMES = {
    "float_type": "a number",
    "int_type": "an integer",
    "int_from_float": "an integer",
    "string_type": "a text in quotes",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "dict_type": "a table",
}


def read_toml(path: Path) -> dict[str, Any]:
    """Tables of a TOML file.

    Raises
    ------
    InputError
        Where the file is missing, unreadable, not UTF-8 or not TOML (with the line).
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; {_similar_file(path)}") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder; name the TOML file in it") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start}); save the file as UTF-8") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: not valid TOML: {error}; correct that line") from None


def parse_model(model: type[Model], data: dict[str, Any], source: Path | str) -> Model:
    """Model from the tables of a file, strictly: no coercion, no unknown keys.

    Raises
    ------
    InputError
        With the most relevant problem as `file: table.key: what is wrong; what to write`.
    """
    try:
        # JSON is the strict mode in which a list may become a tuple, the only sequence TOML has.
        return model.model_validate_json(json.dumps(data, default=_refuse_date))
    except ValidationError as error:
        problems = sorted(error.errors(include_url=False), key=_rank)
        explained = _explain(problems[0], model, data) + _also_allowed(problems)
        raise InputError(f"{source}: {explained}") from None
    except _DateError as error:
        raise InputError(f"{source}: found the date {error}; no key takes a date, put it in quotes") from None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`did you mean 'x'?`, or an empty text when nothing is close."""
    names = list(known)
    close = difflib.get_close_matches(word.lower(), [name.lower() for name in names], n=1, cutoff=0.6)
    matches = [name for name in names if close and name.lower() == close[0]]
    return f"did you mean '{matches[0]}'?" if matches else ""


class _DateError(Exception):
    pass


def _refuse_date(value: Any) -> Any:
    if isinstance(value, datetime.date | datetime.datetime | datetime.time):
        raise _DateError(str(value))
    raise TypeError(type(value).__name__)


def _rank(problem: ErrorDetails) -> int:
    return _PRIORITY.index(problem["type"]) if problem["type"] in _PRIORITY else len(_PRIORITY)


def _also_allowed(problems: list[ErrorDetails]) -> str:
    """The word that the same key accepts besides a number."""
    first = problems[0]
    same = [other for other in problems[1:] if other["loc"][:-1] == first["loc"][:-1]]
    words = [other["ctx"]["expected"] for other in same if other["type"] == "literal_error" and "ctx" in other]
    return f" or {words[0]}" if words and first["type"] != "literal_error" else ""


def _similar_file(path: Path) -> str:
    neighbours = sorted(found.name for found in path.parent.glob("*.toml")) if path.parent.is_dir() else []
    return did_you_mean(path.name, neighbours) or "check the path, or write one with `hpcmat init`"


def _explain(problem: ErrorDetails, model: type[BaseModel], data: dict[str, Any]) -> str:
    location = _visible(problem["loc"], data)
    path = dotted(location)
    kind = problem["type"]
    if kind == "extra_forbidden":
        return f"{path}: {_unknown_key(location, problem, model)}"
    if kind == "missing":
        description = _description(problem["loc"], model)
        return f"{path}: missing ({description}); add this key" if description else f"{path}: missing; add it"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return _wrong_tag(path, problem)
    return f"{path}: {_wrong_value(location, problem)}" if path else _wrong_value(location, problem)


def dotted(location: Sequence[int | str]) -> str:
    """`system.structures[0].a_ang` from the parts of a path."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _visible(location: Location, data: Any) -> Location:
    """Leave out the names of union members, which the file does not show."""
    visible: list[int | str] = []
    for position, part in enumerate(location):
        inside = (isinstance(data, dict) and part in data) or (
            isinstance(data, list) and isinstance(part, int) and part < len(data)
        )
        if inside:
            data = data[part]
            visible.append(part)
        elif position == len(location) - 1 and isinstance(data, dict):
            visible.append(part)
    return tuple(visible)


def _unknown_key(location: Location, problem: ErrorDetails, model: type[BaseModel]) -> str:
    from hpcmat.unit_hints import unit_hint

    key = str(location[-1])
    allowed = [name for member in _models_at(model, problem["loc"][:-1]) for name in member.model_fields]
    hint = unit_hint(key, problem["input"], allowed) or did_you_mean(key, allowed)
    return f"unknown key '{key}'; {hint or 'allowed here: ' + ', '.join(allowed)}"


def _wrong_tag(path: str, problem: ErrorDetails) -> str:
    context = problem.get("ctx", {})
    key = str(context.get("discriminator", "'kind'")).strip("'")
    known = [name.strip(" '") for name in str(context.get("expected_tags", "")).split(",") if name.strip()]
    if problem["type"] == "union_tag_not_found":
        return f'{path}.{key}: missing; write which {path} is meant, for example {key} = "gpaw"'
    tag = str(context["tag"])
    hint = did_you_mean(tag, known)
    return f"{path}.{key}: unknown {path} '{tag}'; {hint + ' ' if hint else ''}available: {', '.join(known)}"


def _wrong_value(location: Location, problem: ErrorDetails) -> str:
    from hpcmat.unit_hints import value_hint

    key = str(next((part for part in reversed(location) if isinstance(part, str)), ""))
    kind, context, value = problem["type"], problem.get("ctx", {}), problem["input"]
    if kind in _TYPE_NAMES:
        hint = value_hint(key, value) if kind == "float_type" else ""
        return f"expected {_TYPE_NAMES[kind]}, got {_shown(value)}; {hint or 'write ' + _TYPE_NAMES[kind]}"
    if kind == "literal_error":
        known = [name.strip(" '") for name in str(context["expected"]).replace(" or ", ", ").split(",")]
        hint = did_you_mean(str(value), known)
        return f"unknown value {value!r}; {hint + ' ' if hint else ''}choose one of {', '.join(known)}"
    if kind == "value_error":
        return str(context["error"])
    if kind == "missing_tag":
        return problem["msg"]
    return f"{_requirement(problem)}, got {_shown(value)}; correct the value"


def _requirement(problem: ErrorDetails) -> str:
    message = problem["msg"]
    for subject in ("Input should ", "String should ", "Tuple should "):
        message = message.replace(subject, "must ")
    return message


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return f"the text '{value}'"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"a table with {', '.join(value) or 'no keys'}" if isinstance(value, dict) else str(value)


def _models_at(model: type[BaseModel], location: Location) -> list[type[BaseModel]]:
    """Models that may stand at a location; a part that names a member of a union selects it."""
    models = [model]
    for part in location:
        if isinstance(part, int):
            continue
        below = [member.model_fields[part] for member in models if part in member.model_fields]
        if below:
            models = [found for field in below for found in _models_in(field.annotation)]
        else:
            models = [member for member in models if part in _tags(member)] or models
    return models


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    # `tuple[int, ...]` counts as a type, and issubclass refuses it: its arguments are looked at instead.
    if isinstance(annotation, type) and not get_args(annotation):
        return [annotation] if issubclass(annotation, BaseModel) else []
    return [found for argument in get_args(annotation) for found in _models_in(argument)]


def _tags(model: type[BaseModel]) -> set[str]:
    return {model.__name__} | {str(field.default) for field in model.model_fields.values()}


def _description(location: Location, model: type[BaseModel]) -> str:
    fields = [member.model_fields.get(str(location[-1])) for member in _models_at(model, location[:-1])]
    return next((field.description.rstrip(".") for field in fields if field and field.description), "")
