"""pjsub, pjstat, pjwait and pjdel of an emulated PJM: `python pjm_commands.py FOLDER COMMAND ARGUMENTS`.

Formats follow Fujitsu's End-user's Guide (J2UL-2534) and Command Reference (J2UL-2549). Texts behind `[ERR.] PJM NNNN`
are ours where the manuals do not print them.
"""

import re
import shlex
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from pjm_queue import FINAL, Queue, advance, end

LIMITS = {"small": (384, 72 * 3600, 144 * 3600), "spot-small": (384, 4 * 3600, 12 * 3600)}
ITEMS = {
    "jid": "JOB_ID",
    "jnam": "JOB_NAME",
    "md": "MD",
    "st": "ST",
    "ec": "EC",
    "sn": "SN",
    "pc": "PC",
    "ermsg": "REASON",
}
WITH_VALUE = ("-L", "-g", "-x", "--name", "-N", "--mpi", "--llio", "--sparam", "-z")


class Refusal(Exception):
    """Printed on standard error, with exit status 1."""


def pjsub(queue, state, arguments):
    options, scripts = parse(arguments)
    script = Path(scripts[0])
    inside = [
        pair
        for line in script.read_text().splitlines()
        if line.startswith("#PJM ")
        for pair in parse(shlex.split(line[5:]))[0]
    ]
    if any(name in ("--all-mount-gfscache", "--no-check-gfscache") for name, _ in inside):
        raise Refusal("[ERR.] PJM 0055 pjsub Option is not allowed in a job script.")
    job = new_job(script, [*inside, *options])
    shape = dict(options)
    if "--bulk" in shape:
        name = submit_bulk(state, job, shape["--sparam"])
    elif "--step" in shape:
        name = submit_step(state, job, shape.get("--sparam", ""))
    else:
        name = str(state["next"])
        add(state, name, job)
    print(name if shape.get("-z") == "jid" else f"[INFO] PJM 0000 pjsub Job {name} submitted.")


def parse(words):
    options, rest = [], []
    words = list(words)
    while words:
        word = words.pop(0)
        if not word.startswith("-"):
            rest.append(word)
        else:
            options.append((word, words.pop(0) if word in WITH_VALUE else ""))
    return options, rest


def new_job(script, options):
    resources = dict(part.split("=", 1) for name, value in options if name == "-L" for part in value.split(","))
    group = dict(options).get("-g", "")
    if not group or group == "fugaku":
        raise Refusal("[ERR.] PJM 0079 pjsub Gate check error: group is not specified or not allowed.")
    nodes = 1
    for edge in resources.get("node", "1").split(":")[0].split("x"):
        nodes *= int(edge)
    first, dash, second = resources["elapse"].partition("-")
    most_nodes, most_s, most_adaptive_s = LIMITS.get(resources["rscgrp"], LIMITS["small"])
    least, most = seconds(first), seconds(second or first) if second or not dash else most_adaptive_s
    for text, value, limit in (("elapse", least, most_s), ("elapse", most, most_adaptive_s if dash else most_s)):
        if value > limit:
            raise Refusal(f"[ERR.] PJM 0057 pjsub {text}={value} is greater than the upper limit ({limit}).")
    if nodes > most_nodes:
        raise Refusal(f"[ERR.] PJM 0057 pjsub node={nodes} is greater than the upper limit ({most_nodes}).")
    mpi = dict(part.split("=", 1) for name, value in options if name == "--mpi" for part in value.split(","))
    variables = dict(value.split("=", 1) for name, value in options if name == "-x" and "=" in value)
    name = dict(options).get("--name") or dict(options).get("-N") or script.name
    return {
        "name": name, "script": script.read_text(), "folder": str(Path.cwd()), "nodes": nodes, "st": "QUE",
        "rscgrp": resources["rscgrp"], "proc": int(mpi.get("proc", nodes)), "least": least if dash else None,
        "most": most, "md": "NM", "ec": 0, "sn": 0, "pc": 0, "reason": "", "pid": 0, "start": 0, "prologue": 0,
        "after": None, "unless_ec": None, "inherit": ("-X", "") in options, "variables": variables,
    }  # fmt: skip


def seconds(text):
    parts = [int(part) for part in text.split(":")]
    return sum(part * 60**place for place, part in enumerate(reversed(parts)))


def add(state, name, job):
    state["jobs"][name] = job | {"number": state["next"] + len(state["jobs"]) / 1e6}
    state["next"] += name.isdigit()


def submit_bulk(state, job, sparam):
    first, last = (int(part) for part in sparam.split("-"))
    parent = str(state["next"])
    for index in range(first, last + 1):
        add(state, f"{parent}[{index}]", job | {"md": "BU"})
    state["next"] += 1
    return parent


def submit_step(state, job, sparam):
    given = dict(part.split("=", 1) for part in sparam.split(",") if part)
    parent = given.get("jid") or str(state["next"])
    earlier = [name for name in state["jobs"] if name.startswith(f"{parent}_")]
    state["next"] += "jid" not in given
    condition = re.fullmatch(r"ec!=(\d+)(:.*)?", given.get("sd", ""))
    name = f"{parent}_{len(earlier)}"
    follows = {"after": earlier[-1] if earlier else None, "unless_ec": int(condition[1]) if condition else None}
    add(state, name, job | {"md": "ST"} | follows)
    return name


def pjstat(queue, state, arguments):
    options, wanted = parse_pjstat(arguments)
    finished = "-H" in options
    jobs = {name: job for name, job in state["jobs"].items() if (job["st"] in FINAL) == finished}
    if wanted:
        jobs = {name: job for name, job in jobs.items() if selected(name, wanted)}
    items = options.get("--choose", "jid,jnam,md,st").split(",")
    if "--data" not in options:
        print("  ".join(ITEMS[item] for item in items))
    else:
        print(",".join(["H", *(ITEMS[item] for item in items)]))
    for name, job in jobs.items():
        cells = [cell(item, name, job) for item in items]
        print(",".join(["", *cells]) if "--data" in options else "  ".join(cells))


def parse_pjstat(arguments):
    options, rest, words = {}, [], list(arguments)
    while words:
        word = words.pop(0)
        if word in ("--choose", "--filter", "--delimiter"):
            options[word] = words.pop(0)
        elif word.startswith("-"):
            options[word] = ""
        else:
            rest.append(word)
    return options, rest


def cell(item, name, job):
    ended = job["st"] in FINAL
    values = {"jid": name, "jnam": job["name"][:10], "md": job["md"], "st": job["st"], "ermsg": job["reason"] or "-"}
    return values[item] if item in values else str(job[item]) if ended else "-"


def selected(name, wanted):
    return any(name == word or name.startswith((f"{word}_", f"{word}[")) for word in wanted)


def pjwait(queue, state, arguments):
    wanted = [word for word in arguments if word[0].isdigit()]
    for name, job in state["jobs"].items():
        exact = name in wanted or (job["md"] == "ST" and selected(name, wanted))
        if not exact or job["st"] == "RJT":
            continue
        if job["st"] in ("EXT", "CCL"):
            print(name, job["pc"], job["ec"], job["sn"])
        else:
            print(name, {"HLD": "H", "ERR": "E"}.get(job["st"], "X"), "-", "-")


def pjdel(queue, state, arguments):
    words = list(arguments)
    if "--reason" in words:
        del words[words.index("--reason") : words.index("--reason") + 2]
    failed = False
    for word in words:
        jobs = [(name, job) for name, job in state["jobs"].items() if selected(name, [word])]
        if not jobs:
            print("[ERR.] PJM 0112 pjdel Job ID does not exist.", file=sys.stderr)
            failed = True
        for name, job in jobs:
            if job["st"] in ("RNP", "RNE", "RNO", "EXT", "CCL", "RJT"):
                print(f"[ERR.] PJM 0113 pjdel Job {name} is in the wrong state.", file=sys.stderr)
                failed = True
            else:
                end(queue, job, name, "CCL", 1)
                print(f"[INFO] PJM 0100 pjdel Accepted job {name}.")
    return int(failed)


COMMANDS = {"pjsub": pjsub, "pjstat": pjstat, "pjwait": pjwait, "pjdel": pjdel}
GARBAGE = {
    "garbled": "\x00\x1bJOB_ID ST\n????\n",
    "truncated": "H,JOB_ID,ST,EC,SN,PC,REASON\n,97",
    "banner": "System maintenance from 09:00.\n",
    "empty": "",
}


def main():
    queue, command, arguments = Queue(sys.argv[1]), sys.argv[2], sys.argv[3:]
    with queue.open() as state:
        moods = state["misbehaviour"].get(command, [])
        mood = moods.pop(0) if moods else ""
    if mood == "slow":
        # Longer than any time limit of a test; the caller kills it.
        time.sleep(60)
    if mood in GARBAGE:
        print(GARBAGE[mood], end="")
        return 0
    if mood == "broken":
        print(f"[ERR.] PJM 0001 {command} Internal error.", file=sys.stderr)
        return 1
    with queue.open() as state:
        advance(queue, state)
        try:
            status = COMMANDS[command](queue, state, arguments) or 0
        except Refusal as refusal:
            print(refusal, file=sys.stderr)
            return 1
        advance(queue, state)
        return status


if __name__ == "__main__":
    sys.exit(main())
