"""Scripts are exact, queues grant what they can, and what cannot be is refused with a way out."""

import subprocess
from pathlib import Path

import pytest

from hpcmat.dispatch.batch import AllocationRequest, batch_job, choose_queue
from hpcmat.dispatch.batch.script import drain_margin_s
from hpcmat.dispatch.providers.pjm.rules import violations
from hpcmat.dispatch.sites import known_sites, load_site
from hpcmat.errors import InputError

GOLDEN = Path(__file__).parent / "golden"
SITES = ("slurm", "fugaku", "wisteria", "genkai", "miyabi", "abci", "tsubame")


def request(**changes):
    given = {
        "name": "si",
        "body": "python -m hpcmat run si.toml --out .",
        "folder": "/vol0003/hp1/si",
        "nodes": 2,
        "walltime_s": 5400,
        "ranks_per_node": 4,
        "account": "hp1",
    }
    return AllocationRequest(**(given | changes))


@pytest.mark.parametrize("name", SITES)
def test_script_is_exactly_the_golden_one(name):
    assert batch_job(load_site(name), request()).script == (GOLDEN / f"{name}.sh").read_text()


@pytest.mark.parametrize("name", SITES)
def test_script_is_valid_shell(name):
    script = batch_job(load_site(name), request(folder="/data/with blank 'quote'")).script
    assert subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False).stderr == ""


def test_golden_script_of_fugaku_keeps_every_rule_also_when_large_and_adaptive():
    fugaku = load_site("fugaku")
    assert violations((GOLDEN / "fugaku.sh").read_text()) == ()
    large = batch_job(fugaku, request(nodes=396, walltime_s=96 * 3600, guaranteed_s=3600))
    assert violations(large.script) == ()
    assert '-L "node=396:torus"' in large.script
    assert '-L "rscgrp=large"' in large.script
    assert '-L "elapse=1:00:00-96:00:00"' in large.script


def test_script_against_the_rules_is_refused():
    with pytest.raises(InputError, match=r"would refuse this script \(rank output, UG.*-stdout-proc FILE"):
        batch_job(load_site("fugaku"), request(body="mpiexec pw.x > out"))


@pytest.mark.parametrize(
    ("site", "changes", "queue"),
    [
        ("fugaku", {}, "small"),
        ("fugaku", {"nodes": 12288, "walltime_s": 86400}, "large"),
        ("fugaku", {"queue": "spot-small", "walltime_s": 12 * 3600, "guaranteed_s": 3600}, "spot-small"),
        ("genkai", {"nodes": 64, "walltime_s": 6 * 3600}, "a-batch"),
        ("wisteria", {"nodes": 2304, "walltime_s": 86400}, "regular-o"),
        ("wisteria", {"nodes": 2304, "walltime_s": 86400, "queue": "regular-o"}, "regular-o"),
    ],
)
def test_queue_that_grants_a_request(site, changes, queue):
    assert choose_queue(load_site(site), request(**changes)).name == queue


@pytest.mark.parametrize(
    ("site", "changes", "message"),
    [
        ("fugaku", {"nodes": 400}, "small takes 384 nodes or fewer; large takes multiples of 12 nodes"),
        ("fugaku", {"walltime_s": 73 * 3600}, "small takes 72 h or less; large takes 385 nodes or more"),
        ("fugaku", {"walltime_s": 145 * 3600, "guaranteed_s": 60}, "small ends all jobs after 144 h"),
        ("fugaku", {"queue": "smal"}, "no queue 'smal'; did you mean 'small'?"),
        ("fugaku", {"account": ""}, "refuses jobs without an account; give it with --account GROUP"),
        ("genkai", {"nodes": 64, "walltime_s": 7 * 3600}, "takes 6 h or less"),
        ("genkai", {"guaranteed_s": 60}, "guarantees the whole walltime or none"),
        ("pbs", {}, "cores_per_node: its scheduler must be told"),
        ("local", {}, "has no scheduler; `hpcmat run CAMPAIGN --site local`"),
        ("slurm", {"name": "9lives"}, "job name '9lives': use 63 or fewer"),
    ],
)
def test_what_cannot_be_is_refused(site, changes, message):
    with pytest.raises(InputError) as caught:
        batch_job(load_site(site), request(**changes))
    assert message in str(caught.value)


def test_account_goes_where_the_site_takes_it():
    tsubame = batch_job(load_site("tsubame"), request())
    assert tsubame.command == ("qsub", "-g", "hp1")
    assert "hp1" not in tsubame.script.split("\n\n")[0]
    assert batch_job(load_site("miyabi"), request()).command == ("qsub",)


def test_volume_of_the_campaign_is_mounted_beside_that_of_the_software():
    script = batch_job(load_site("fugaku"), request(folder="/vol0005/x")).script
    assert "#PJM -x PJM_LLIO_GFSCACHE=/vol0004:/vol0005\n" in script


@pytest.mark.parametrize(("walltime_s", "margin_s"), [(60, 6), (3600, 360), (86400, 600)])
def test_drain_leaves_a_tenth_at_most_ten_minutes(walltime_s, margin_s):
    assert drain_margin_s(walltime_s) == margin_s


def test_every_site_with_a_scheduler_is_tried_here():
    scheduled = {name for name in known_sites() if load_site(name).batch is not None}
    assert scheduled == {*SITES, "pbs"}
