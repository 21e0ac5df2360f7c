"""`hpcmat schema`: the JSON Schema of campaign and site files, for editors."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from hpcmat.cli.common import AsJson, print_json

What = Annotated[Literal["campaign", "site"], typer.Argument(metavar="[campaign|site]", help="Which kind of file.")]


def schema(what: What = "campaign", as_json: AsJson = False) -> None:
    """Print the JSON Schema of its files; that of campaigns holds all kinds.

    The output is JSON with or without `--json`.
    """
    if what == "site":
        from hpcmat.dispatch.sites import Site

        model_schema = Site.model_json_schema()
    else:
        from hpcmat.campaign.specification import specification_schema

        model_schema = specification_schema()
    print_json({"$schema": "https://json-schema.org/draft/2020-12/schema", **model_schema})
