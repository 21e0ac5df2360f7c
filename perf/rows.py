"""What every benchmark writes: rows of case, metric, value, unit, peer, peer value and ratio."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Row:
    """One figure, beside that of a peer measured in the same run."""

    case: str
    metric: str
    value: float
    unit: str
    peer: str
    peer_value: float
    ratio: float
    """value / peer_value; whether more is better is said by the metric."""
    error: float | None = None
    """Standard error of the value, where few frames make it matter."""


def row(case: str, metric: str, value: float, unit: str, peer: tuple[str, float], error: float | None = None) -> Row:
    """A row with its ratio."""
    return Row(case, metric, value, unit, peer[0], peer[1], value / peer[1], error)


def parser(description: str) -> argparse.ArgumentParser:
    """Options that all benchmarks share."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--json", type=Path, metavar="PATH", help="also write the rows as JSON to this file")
    return options


def publish(rows: list[Row], path: Path | None) -> None:
    """Print the rows, and write them where a path is given."""
    for item in rows:
        error = "" if item.error is None else f" ± {item.error:.2g}"
        print(
            f"{item.case}: {item.metric} {item.value:.4g}{error} {item.unit}; "
            f"{item.peer} {item.peer_value:.4g} {item.unit}; ratio {item.ratio:.3f}"
        )
    if path is not None:
        path.write_text(json.dumps([asdict(item) for item in rows], indent=2) + "\n")
