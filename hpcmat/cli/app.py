"""The command `hpcmat`: one table of commands, one place where errors become exit codes."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Sequence
from typing import Annotated, cast

import typer

from hpcmat.errors import HpcmatError

COMMANDS = (
    "init",
    "check",
    "plan",
    "rehearse",
    "run",
    "submit",
    "status",
    "watch",
    "stop",
    "report",
    "replay",
    "schema",
    "sites",
    "doctor",
)
"""Each has a module of its name in `hpcmat.cli` with a function of that name, light to import."""

GROUPS = ("potential", "engines")
"""Commands of commands: each has a module of its name with a Typer application of that name."""

EXIT_INTERRUPTED = 130

EPILOG = """\b
Exit codes:
  0    done
  1    unexpected error
  2    bad input: campaign, site, structure or option; nothing was written
  3    journal or result store cannot be read or written
  4    the machine cannot run the tasks
  5    another driver runs this campaign
  130  interrupted
"""

_UsageError = cast(type[typer.BadParameter], typer.BadParameter.__bases__[0])
"""Typer does not export the parent of its option errors, and from 0.20 on it is no longer click's."""


def _print_version(wanted: bool) -> None:
    if wanted:
        from hpcmat import __version__

        print(f"hpcmat {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Active-learning campaigns that couple first-principles simulation and AI on supercomputers."""


def build_app() -> typer.Typer:
    """The command-line application with every registered command."""
    app = typer.Typer(
        name="hpcmat",
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        epilog=EPILOG,
    )
    app.callback()(_root)
    for name in COMMANDS:
        app.command(name)(getattr(importlib.import_module(f"hpcmat.cli.{name}"), name))
    for name in GROUPS:
        app.add_typer(getattr(importlib.import_module(f"hpcmat.cli.{name}"), name))
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and end the process with its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(run(given))


def run(arguments: Sequence[str]) -> int:
    """Run one command; errors become one line on standard error, with `--json` also JSON on standard output."""
    try:
        result = build_app()(args=list(arguments) or ["--help"], prog_name="hpcmat", standalone_mode=False)
    except HpcmatError as error:
        return _tell(str(error), error.exit_code, arguments)
    except _UsageError as error:
        return _tell(f"{error.format_message()} See `hpcmat --help`.", error.exit_code, arguments)
    except (KeyboardInterrupt, typer.Abort):
        return _tell("interrupted", EXIT_INTERRUPTED, arguments)
    return result if isinstance(result, int) else 0


def _tell(message: str, exit_code: int, arguments: Sequence[str]) -> int:
    line = " ".join(message.split())
    print(f"error: {line}", file=sys.stderr)
    if "--json" in arguments:
        print(json.dumps({"error": line, "exit_code": exit_code}, ensure_ascii=False))
    return exit_code
