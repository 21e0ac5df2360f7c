"""What travels through the tree. What tasks and results are made of stays packed until it arrives."""

from __future__ import annotations

from typing import Literal, NamedTuple

Verdict = Literal["result", "error", "lost"]


class TaskMessage(NamedTuple):
    """One task."""

    number: int
    payload: bytes
    """Function and arguments, packed by Parsl."""


class ResultMessage(NamedTuple):
    """What became of one task."""

    number: int
    verdict: Verdict
    payload: bytes
    """The packed result or exception; of a lost worker its name."""


class Downward(NamedTuple):
    """From above: tasks, or the order to end."""

    tasks: tuple[TaskMessage, ...] = ()
    stop: bool = False


class Upward(NamedTuple):
    """From below; one without content is a sign of life."""

    places: int = 0
    """Further tasks that may be sent, besides one for each result."""
    results: tuple[ResultMessage, ...] = ()
    closed: bool = False
    """Nothing follows."""
