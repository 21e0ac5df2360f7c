"""The rules of Fugaku for a job script, each with its source, as a pure function of the script's text.

Sources: UG is RIKEN's Users Guide 1.52, EG Fujitsu's End-user's Guide J2UL-2534, MPI Fujitsu's MPI User's Guide
J2UL-2565. Limits of resource groups change: `pjacl` on a login node tells today's.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass

from hpcmat.dispatch.providers.pjm.directives import Elapse, PjmScript, read_script

LARGEST_VOLATILE_GIB = 87
MOST_MPIEXEC = 128
MOST_TCP_NODES = 512
COMPUTE_CORES = 48
_HOUR = 3600
_ADAPTIVE_EXTRA_H = 72

_COMMAND_LINE_ONLY = ("--all-mount-gfscache", "--no-check-gfscache")
_LOGIN_ONLY = ("pjsub", "pjstat", "pjdel", "pjwait", "pjhold", "pjrls", "pjalter")
_TCP_PILOTS = ("process_worker_pool", "interchange.py", "dask-worker", "dask-scheduler")


@dataclass(frozen=True, slots=True)
class GroupLimit:
    """Nodes and hours of a resource group."""

    min_nodes: int
    max_nodes: int
    hours: int
    torus: bool = False


GROUP_LIMITS = {"small": GroupLimit(1, 384, 72), "large": GroupLimit(385, 12288, 24, torus=True)}
SPOT_HOURS = {"spot-small": 12, "spot-middle": 12, "spot-large": 12, "spot-int": 6}
_SPOT_GUARANTEED_H = 4


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; `broken` gives what is wrong and what to write, or an empty text."""

    name: str
    source: str
    broken: Callable[[PjmScript], str]


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that a script breaks."""

    rule: str
    source: str
    message: str


def violations(text: str) -> tuple[Violation, ...]:
    """Rules of Fugaku that a script breaks; none for a script that may be submitted."""
    try:
        script = read_script(text)
    except ValueError as error:
        return (Violation("quotes", "UG, example script", f"a #PJM line cannot be read: {error}; close its quotes"),)
    found = ((rule, rule.broken(script)) for rule in RULES)
    return tuple(Violation(rule.name, rule.source, message) for rule, message in found if message)


def _shebang(script: PjmScript) -> str:
    return "" if script.first_line.startswith("#!") else "begin with the line #!/bin/bash"


def _nodes(script: PjmScript) -> str:
    return "" if script.nodes else 'ask for nodes: -L "node=N", N1xN2 or N1xN2xN3, with :torus, :mesh or :noncont'


def _resource_group(script: PjmScript) -> str:
    return "" if script.resource("rscgrp") else 'name a resource group: -L "rscgrp=small"'


def _elapse(script: PjmScript) -> str:
    elapse = script.elapse
    if elapse is None:
        return 'limit the time: -L "elapse=[[h:]m:]s", or min-max, or min-'
    if elapse.longest is not None and elapse.longest < elapse.guaranteed:
        return "the least elapse time exceeds the longest; exchange them"
    return ""


def _group(script: PjmScript) -> str:
    group = script.value("-g")
    if not group:
        return "name the group to charge: -g GROUP"
    return "group 'fugaku' is refused; name a project" if group == "fugaku" else ""


def _trial(script: PjmScript) -> str:
    spot = script.resource("rscgrp").startswith("spot-")
    return "project 'trial' may use spot-* resource groups only" if script.value("-g") == "trial" and not spot else ""


def _name(script: PjmScript) -> str:
    name = script.value("--name") or script.value("-N")
    if not name or (re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]*", name) and len(name.encode()) <= 63):
        return ""
    return "a job name has at most 63 bytes: a letter, then letters, digits, -, _ and ."


def _ranks(script: PjmScript) -> str:
    each, total = script.mpi("max-proc-per-node"), script.mpi("proc")
    if each and (not each.isdigit() or not 1 <= int(each) <= COMPUTE_CORES):
        return f"max-proc-per-node is 1 to {COMPUTE_CORES}"
    if total and (not total.isdigit() or int(total) > script.nodes * int(each or COMPUTE_CORES)):
        return f"{total} processes do not fit {script.nodes} nodes; lower proc or raise max-proc-per-node"
    return ""


def _volumes(script: PjmScript) -> str:
    text = "\n".join(script.commands)
    used = set(re.findall(r"/vol\d{4}", text)) | ({"/vol0004"} if re.search(r"\bspack\b", text) else set())
    given = {volume for name, value in script.options if name == "-x" for volume in re.findall(r"/vol\d{4}", value)}
    missing = sorted(used - given)
    return f"mount what is used: -x PJM_LLIO_GFSCACHE={':'.join(sorted(used | given))}" if missing else ""


def _volatile_storage(script: PjmScript) -> str:
    sizes = [script.llio(f"{area}-size") for area in ("localtmp", "sharedtmp")]
    asked = sum(_gib(size) for size in sizes if size)
    return f"localtmp and sharedtmp have {LARGEST_VOLATILE_GIB} GiB together" if asked > LARGEST_VOLATILE_GIB else ""


def _command_line_only(script: PjmScript) -> str:
    found = [option for option in _COMMAND_LINE_ONLY if script.has(option)]
    return f"{found[0]} is an option of the pjsub command, not of a script" if found else ""


def _output_files(script: PjmScript) -> str:
    found = [option for option in ("-o", "-e") if script.has(option)]
    return f"{found[0]} is not among the options of the installation; read NAME.ID.out and .err" if found else ""


def _group_limits(script: PjmScript) -> str:
    name, elapse = script.resource("rscgrp"), script.elapse
    limit = GROUP_LIMITS.get(name)
    if limit is None or elapse is None:
        return ""
    if not limit.min_nodes <= script.nodes <= limit.max_nodes:
        return f"resource group {name} has {limit.min_nodes} to {limit.max_nodes} nodes"
    if limit.torus and (script.nodes % 12 or script.mode in ("mesh", "noncont")):
        return f"resource group {name} grants a torus, in units of 12 nodes"
    return _over(name, elapse, limit.hours, limit.hours + _ADAPTIVE_EXTRA_H)


def _spot_limits(script: PjmScript) -> str:
    name, elapse = script.resource("rscgrp"), script.elapse
    if name not in SPOT_HOURS or elapse is None:
        return ""
    return _over(name, elapse, _SPOT_GUARANTEED_H, SPOT_HOURS[name])


def _over(name: str, elapse: Elapse, guaranteed_h: int, longest_h: int) -> str:
    if elapse.guaranteed > guaranteed_h * _HOUR:
        return f"resource group {name} guarantees at most {guaranteed_h} h"
    if elapse.longest is not None and elapse.longest > longest_h * _HOUR:
        return f"resource group {name} ends all jobs after {longest_h} h"
    return ""


def _retention(script: PjmScript) -> str:
    fixed = script.nodes > 9216 and script.resource("retention_state") not in ("", "0")
    return "above 9,216 nodes retention_state is 0" if fixed else ""


def _login_only(script: PjmScript) -> str:
    found = [command for line in script.commands for command in _words(line) if command in _LOGIN_ONLY]
    return f"{found[0]} exists on login nodes only; a job can neither submit nor watch jobs" if found else ""


def _rank_output(script: PjmScript) -> str:
    for line in _mpiexec_lines(script):
        if re.search(r"(?<![0-9&])>|\|", line):
            return "output of ranks does not reach mpiexec's own; use mpiexec -stdout-proc FILE"
        if re.search(r"<", line):
            return "mpiexec does not pass its own input on; use mpiexec -stdin FILE"
    return ""


def _background(script: PjmScript) -> str:
    started = [line for line in _mpiexec_lines(script) if line.endswith("&")]
    if not started:
        return ""
    if not any(line == "wait" or line.startswith("wait ") for line in script.commands):
        return "the job ends when its script does: wait for the mpiexec in the background"
    if len(started) > 1 and not all("-vcoordfile" in line or "--vcoordfile" in line for line in started):
        return "several mpiexec at once need disjoint coordinates: mpiexec -vcoordfile FILE"
    return f"at most {MOST_MPIEXEC} mpiexec at once" if len(started) > MOST_MPIEXEC else ""


def _tcp(script: PjmScript) -> str:
    pilot = any(name in line for line in script.commands for name in _TCP_PILOTS)
    return f"TCP/IP jobs should use {MOST_TCP_NODES} nodes or fewer" if pilot and script.nodes > MOST_TCP_NODES else ""


def _library_path(script: PjmScript) -> str:
    for line in script.commands:
        match = re.search(r"LD_LIBRARY_PATH=[\"']?([^:\"']*)", line)
        if match and match[1] != "/lib64":
            return "begin LD_LIBRARY_PATH with /lib64, then sort_libp"
    return ""


def _mpiexec_lines(script: PjmScript) -> list[str]:
    return [line for line in script.commands if "mpiexec" in _words(line)]


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:
        return line.split()


def _gib(size: str) -> float:
    match = re.fullmatch(r"(\d+)(Gi|Mi|G|M)", size)
    if match is None:
        return float("inf")
    return int(match[1]) * {"Gi": 1.0, "Mi": 2**-10, "G": 1e9 / 2**30, "M": 1e6 / 2**30}[match[2]]


RULES = (
    Rule("shebang", "UG, example script", _shebang),
    Rule("nodes", "UG, node=", _nodes),
    Rule("resource group", "UG, rscgrp=", _resource_group),
    Rule("elapse", "UG, elapse=", _elapse),
    Rule("group", "UG, -g", _group),
    Rule("trial", "UG, project trial", _trial),
    Rule("name", "UG, --name", _name),
    Rule("ranks", "UG, --mpi; RIKEN, About Fugaku", _ranks),
    Rule("volumes", "UG, PJM_LLIO_GFSCACHE", _volumes),
    Rule("volatile storage", "UG, --llio", _volatile_storage),
    Rule("command line only", "UG, options of a script", _command_line_only),
    Rule("output files", "UG lists no -o and -e", _output_files),
    Rule("group limits", "UG, resource groups", _group_limits),
    Rule("spot limits", "UG, resource groups", _spot_limits),
    Rule("retention", "UG, power knobs", _retention),
    Rule("login only", "CR, table of commands", _login_only),
    Rule("rank output", "UG, output of mpiexec", _rank_output),
    Rule("background", "MPI; UG, several mpiexec at once", _background),
    Rule("TCP", "EG 1.6.3.1", _tcp),
    Rule("library path", "UG, LD_LIBRARY_PATH", _library_path),
)
