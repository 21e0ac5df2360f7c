"""Numbers as people read them, and the one line with which a campaign ends."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from hpcmat.report.schema import Report
from hpcmat.report.statistics import Interval

MISSING = "–"


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with so many significant digits, without trailing exponents where a reader expects none."""
    if value is None or not math.isfinite(value):
        return MISSING
    if value == 0:
        return "0"
    magnitude = math.floor(math.log10(abs(value)))
    if magnitude < -4 or magnitude > 6:
        return f"{value:.{digits - 1}e}"
    return f"{value:.{max(digits - 1 - magnitude, 0)}f}"


def span(interval: Interval | None, digits: int = 3) -> str:
    """Return both ends of an interval."""
    return MISSING if interval is None else f"{number(interval[0], digits)}–{number(interval[1], digits)}"


def percent(fraction: float | None, signed: bool = False) -> str:
    """Return a fraction in per cent; small ones keep two digits."""
    if fraction is None:
        return MISSING
    value = 100.0 * fraction
    decimals = 1 if abs(value) >= 1 or value == 0 else 2
    return f"{value:{'+' if signed else ''}.{decimals}f} %"


def duration(seconds: float | None) -> str:
    """Return a length of time in the two largest units that matter."""
    if seconds is None:
        return MISSING
    if 0 < seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def moment(time: float) -> str:
    """Return a time of day in UTC."""
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def clock(time: float) -> str:
    """Return the local time of day."""
    return datetime.fromtimestamp(time, UTC).astimezone().strftime("%H:%M:%S")


def plural(count: int, noun: str) -> str:
    """Return the count with its noun."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def summary_line(report: Report) -> str:
    """Error, its confidence interval, labels, failures and node-hours, in one line."""
    parts = [
        _error_words(report),
        plural(report.labels, "label"),
        plural(report.failures, "failure"),
        f"{number(report.node_hours)} node-hours",
    ]
    return " · ".join(parts)


def _error_words(report: Report) -> str:
    rmse = report.validation_force_rmse_ev_per_ang
    if rmse is None:
        return "no validation error yet"
    level = f"{100 * report.target_confidence:g} %"
    ends = report.validation_force_rmse_ev_per_ang_interval
    interval = f"{level} interval {span(ends)}" if ends else "one frame: no interval"
    verdict = "reached" if report.target_reached else "not reached"
    return (
        f"force RMSE {number(rmse)} eV/Å ({interval}, {plural(report.validation_frames, 'validation frame')}; "
        f"target {report.target_force_rmse_ev_per_ang:g} {verdict})"
    )
