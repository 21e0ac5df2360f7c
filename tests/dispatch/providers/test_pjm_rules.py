"""Each rule of Fugaku passes a script that keeps it and finds the one that breaks it."""

import pytest

from hpcmat.dispatch.providers.pjm.rules import RULES, violations

GOOD = """\
#!/bin/bash
#PJM --name campaign-1
#PJM -L "node=2x3x2:torus"
#PJM -L "rscgrp=small"
#PJM -L "elapse=1:00:00-144:00:00"
#PJM -g hp123456
#PJM --mpi "proc=48,max-proc-per-node=4"
#PJM -x PJM_LLIO_GFSCACHE=/vol0003:/vol0004
#PJM --llio localtmp-size=10Gi,sharedtmp-size=70Gi
#PJM -S
. /vol0004/apps/oss/spack/share/spack/setup-env.sh
spack load python
export LD_LIBRARY_PATH=/lib64:$LD_LIBRARY_PATH
cd /vol0003/data
mpiexec -n 24 -vcoordfile a.txt -stdout-proc a/%r program -in a.inp &
mpiexec -n 24 -vcoordfile b.txt -stdout-proc b/%r program -in b.inp &
wait
"""

BROKEN = [
    ("shebang", "#!/bin/bash\n", ""),
    ("nodes", "node=2x3x2:torus", "node=2x3x2x5"),
    ("nodes", '#PJM -L "node=2x3x2:torus"\n', ""),
    ("resource group", '#PJM -L "rscgrp=small"\n', ""),
    ("elapse", '#PJM -L "elapse=1:00:00-144:00:00"\n', ""),
    ("elapse", "elapse=1:00:00-144:00:00", "elapse=one hour"),
    ("elapse", "elapse=1:00:00-144:00:00", "elapse=2:00:00-1:00:00"),
    ("group", "#PJM -g hp123456\n", ""),
    ("group", "-g hp123456", "-g fugaku"),
    ("trial", "-g hp123456", "-g trial"),
    ("name", "--name campaign-1", "--name 1campaign"),
    ("name", "--name campaign-1", f"--name {'a' * 64}"),
    ("ranks", "max-proc-per-node=4", "max-proc-per-node=49"),
    ("ranks", "proc=48,", "proc=49,"),
    ("volumes", "/vol0003:/vol0004", "/vol0004"),
    ("volumes", "/vol0003:/vol0004", "/vol0003"),
    ("volatile storage", "sharedtmp-size=70Gi", "sharedtmp-size=78Gi"),
    ("volatile storage", "sharedtmp-size=70Gi", "sharedtmp-size=much"),
    ("command line only", "#PJM -S\n", "#PJM --no-check-gfscache\n"),
    ("output files", "#PJM -S\n", "#PJM -o log.txt\n"),
    ("group limits", "node=2x3x2:torus", "node=385"),
    ("group limits", "elapse=1:00:00-144:00:00", "elapse=72:00:01"),
    ("group limits", "elapse=1:00:00-144:00:00", "elapse=1:00:00-144:00:01"),
    ("group limits", "rscgrp=small", "rscgrp=large"),
    ("spot limits", "rscgrp=small", "rscgrp=spot-small"),
    ("login only", "wait\n", "wait\npjsub next.sh\n"),
    ("rank output", "-stdout-proc a/%r program -in a.inp &", "program -in a.inp > a.out &"),
    ("rank output", "program -in a.inp", "program < a.inp"),
    ("rank output", "-stdout-proc a/%r program -in a.inp &", "program -in a.inp | tee a.out"),
    ("background", "wait\n", ""),
    ("background", "-vcoordfile b.txt ", ""),
    ("background", "wait\n", "mpiexec -vcoordfile c.txt x &\n" * 127 + "wait\n"),
    ("library path", "LD_LIBRARY_PATH=/lib64:", "LD_LIBRARY_PATH=/opt/lib:"),
    ("quotes", '"rscgrp=small"', '"rscgrp=small'),
]

LARGE = GOOD.replace("node=2x3x2:torus", "node=9228:torus").replace("rscgrp=small", "rscgrp=large")
LARGE = LARGE.replace("elapse=1:00:00-144:00:00", "elapse=24:00:00")
BROKEN_LARGE = [
    ("group limits", "node=9228:torus", "node=9229:torus"),
    ("group limits", "node=9228:torus", "node=9228:noncont"),
    ("group limits", "elapse=24:00:00", "elapse=24:00:01"),
    ("retention", "#PJM -S\n", '#PJM -L "retention_state=1"\n'),
    ("TCP", "wait\n", "process_worker_pool.py\nwait\n"),
]


def rules_broken(script):
    return {found.rule for found in violations(script)}


@pytest.mark.parametrize("script", [GOOD, LARGE, GOOD.replace("1:00:00-144:00:00", "1:00:00-")])
def test_a_script_that_keeps_all_rules(script):
    assert violations(script) == ()


@pytest.mark.parametrize(("rule", "old", "new"), BROKEN)
def test_each_rule_finds_its_breach(rule, old, new):
    assert old in GOOD
    assert rule in rules_broken(GOOD.replace(old, new))


@pytest.mark.parametrize(("rule", "old", "new"), BROKEN_LARGE)
def test_rules_of_large_jobs(rule, old, new):
    assert old in LARGE
    assert rules_broken(LARGE.replace(old, new)) == {rule}


def test_every_rule_has_its_negative_control_and_its_source():
    tested = {rule for rule, _, _ in [*BROKEN, *BROKEN_LARGE]}
    assert {rule.name for rule in RULES} <= tested
    assert all(rule.source for rule in RULES)


def test_messages_say_what_to_write():
    broken = GOOD.replace("PJM_LLIO_GFSCACHE=/vol0003:/vol0004", "PJM_LLIO_GFSCACHE=/vol0004")
    assert [found.message for found in violations(broken)] == [
        "mount what is used: -x PJM_LLIO_GFSCACHE=/vol0003:/vol0004"
    ]
