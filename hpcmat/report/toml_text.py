"""A campaign as the text of its file, with every default written out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hpcmat.campaign.specification import Specification


def campaign_toml(campaign: Specification) -> str:
    """Campaign file in TOML that means exactly this campaign; what is not set is left out."""
    return _table(campaign.model_dump(mode="json"), ()).strip() + "\n"


def _table(values: Mapping[str, Any], path: tuple[str, ...]) -> str:
    plain = {key: value for key, value in values.items() if value is not None and not isinstance(value, Mapping)}
    tables = {key: value for key, value in values.items() if isinstance(value, Mapping)}
    head = f"\n[{'.'.join(path)}]\n" if path and plain else ""
    body = "".join(f"{_key(key)} = {_value(value)}\n" for key, value in plain.items())
    return head + body + "".join(_table(value, (*path, _key(key))) for key, value in tables.items())


def _key(key: str) -> str:
    return key if key and all(c.isascii() and (c.isalnum() or c in "_-") for c in key) else json.dumps(key)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        inside = ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items() if item is not None)
        return f"{{ {inside} }}"
    if isinstance(value, list):
        return f"[{', '.join(_value(item) for item in value)}]"
    # JSON's booleans, numbers and strings are TOML's too.
    return json.dumps(value, ensure_ascii=False)
