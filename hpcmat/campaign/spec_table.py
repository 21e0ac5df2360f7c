"""Every setting of a campaign with its value, unit, meaning, and whether it was given or is a default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from hpcmat.unit_hints import unit_of


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of a campaign file as the campaign uses it."""

    table: str
    """Path of the table, e.g. `system.structures[0]`; empty at the top."""
    key: str
    value: Any
    unit: str
    given: bool
    """False for a default."""
    description: str

    @property
    def path(self) -> str:
        """Table and key as one path."""
        return f"{self.table}.{self.key}" if self.table else self.key


def resolved_settings(model: BaseModel, table: str = "") -> tuple[Setting, ...]:
    """Settings in the order of declaration: the keys of a table first, then the tables inside it."""
    keys: list[Setting] = []
    inner: list[Setting] = []
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        path = f"{table}.{name}" if table else name
        members = _inner_models(path, value)
        if members:
            for member_path, member in members:
                inner += resolved_settings(member, member_path)
            continue
        unit = unit_of(name) or unit_of(table.rpartition(".")[2])
        given = name in model.model_fields_set
        keys.append(Setting(table, name, value, unit, given, (field.description or "").rstrip(".")))
    return (*keys, *inner)


def _inner_models(path: str, value: Any) -> list[tuple[str, BaseModel]]:
    if isinstance(value, BaseModel):
        return [(path, value)]
    if isinstance(value, tuple) and value and all(isinstance(item, BaseModel) for item in value):
        return [(f"{path}[{number}]", item) for number, item in enumerate(value)]
    return []
