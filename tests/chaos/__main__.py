"""`make chaos`: so many random faults over campaigns on a Slurm of four nodes; exit code 1 where anything is found."""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "promises"), str(HERE.parent / "fakes")]

from slurm import Slurm  # noqa: E402

from chaos.ordeal import Outcome, Teller, sentence, table, undergo  # noqa: E402 - the folders of the tests come first
from chaos.plan import SITES, draw_plan  # noqa: E402


def main() -> int:
    """Plan, campaigns one after the other, table."""
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None, help="of the plan; drawn where none is given")
    parser.add_argument("--per-campaign", type=int, default=20)
    parser.add_argument("--site", choices=SITES, default=None, help="campaigns of this site alone")
    parser.add_argument("--keep", type=Path, default=None, help="folder for campaigns in which something was found")
    wanted = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if wanted.seed is None else wanted.seed
    print(f"seed {seed}", flush=True)
    plans = draw_plan(seed, wanted.faults, wanted.per_campaign)
    plans = tuple(plan for plan in plans if wanted.site in {None, plan.site})
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(f"ended early; seed {seed}"))
    begun, outcomes = time.monotonic(), list[Outcome]()
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        slurm = Slurm(Path(folder) / "slurm", nodes=4)
        try:
            slurm.start()
            for plan in plans:
                outcomes.append(undergo(plan, Path(folder) / plan.name, slurm, Teller(wanted.keep)))
                print(sentence(outcomes[-1]), flush=True)
        finally:
            slurm.stop()
            print(table(outcomes), flush=True)
    labels, findings = sum(o.labels for o in outcomes), sum(len(o.findings) for o in outcomes)
    minutes = (time.monotonic() - begun) / 60.0
    print(f"{len(outcomes)} campaigns, {labels} labels, {findings} findings, {minutes:.1f} min; seed {seed}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
