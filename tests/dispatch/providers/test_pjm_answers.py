"""What the manuals print is read; anything else is garbled."""

import pytest
from parsl.jobs.states import JobState

from hpcmat.dispatch.providers.pjm.answers import ENDED, STATES, GarbledAnswer, listed, submitted_id, waited
from hpcmat.dispatch.providers.pjm.codes import END_CODES, ERROR, Cause, JobEnd, Reaction, meaning_of, sentence
from hpcmat.dispatch.providers.pjm.failures import failure_of
from hpcmat.records import FailureKind

HEADER = "H,JOB_ID,ST,EC,SN,PC,REASON\n"


@pytest.mark.parametrize(
    ("output", "job"),
    [
        ("[INFO] PJM 0000 pjsub Job 9714 submitted.\n", "9714"),
        ("[INFO.] PJM 0000 pjsub Job 64856_0 submitted.\n", "64856_0"),
        ("Welcome.\n[INFO] PJM 0000 pjsub Job 12 submitted.\n", "12"),
    ],
)
def test_submitted_id(output, job):
    assert submitted_id(output) == job


@pytest.mark.parametrize("output", ["", "Job 12 submitted", "[INFO] PJM 0000 pjsub Job twelve submitted."])
def test_no_id_is_guessed(output):
    with pytest.raises(GarbledAnswer):
        submitted_id(output)


def test_lines_of_pjwait():
    found = waited("11 1 1 9\n12 X - -\n13 E - -\n14 H - -\n100_1 11 0 15\n101[3] 0 0 0\n15 - 0 -\n")
    assert found["11"].end == JobEnd(1, 1, 9)
    assert found["12"].end is None
    assert not found["12"].held
    assert found["13"].end == JobEnd(ERROR)
    assert found["14"].held
    assert found["100_1"].end == JobEnd(11, 0, 15)
    assert found["101[3]"].end == JobEnd(0, 0, 0)
    assert found["15"].end == JobEnd(0, 0, 0)


@pytest.mark.parametrize(
    "line", ["11 1 1", "11 Y - -", "eleven 0 0 0", "11 0 0 0 0", "[ERR.] PJM 0001 pjwait Internal error."]
)
def test_other_lines_of_pjwait_are_garbled(line):
    with pytest.raises(GarbledAnswer):
        waited(f"12 X - -\n{line}\n")


def test_rows_of_pjstat_by_the_names_of_the_header():
    found = listed(
        "H,RSCGRP,JOB_ID,JOB_NAME,ST,START_DATE\n"
        ",small,2927,jobA,RUN,11/17 09:01:41\n"
        ",small,29[1],b,QUE,(11/17 09:01)\n"
    )
    assert {job: row.state for job, row in found.items()} == {"2927": "RUN", "29[1]": "QUE"}
    ended = listed(HEADER + ",7,CCL,0,9,18,ANOTHER JOB STARTED\n,8,RJT,-,-,-,GATE CHECK\n,9,ERR,-,-,-,-\n")
    assert ended["7"].end == JobEnd(18, 0, 9, "ANOTHER JOB STARTED")
    assert failure_of(ended["8"].end).failure is FailureKind.BAD_SETTINGS
    assert ended["9"].end.code == ERROR


@pytest.mark.parametrize(
    "output",
    [
        "",
        "JOB_ID ST\n",
        HEADER + ",7,RUN\n",
        HEADER + ",7,XYZ,-,-,-,-\n",
        HEADER + ",x,RUN,-,-,-,-\n",
        HEADER + "H,7,RUN,-,-,-,-\n",
    ],
)
def test_other_answers_of_pjstat_are_garbled(output):
    with pytest.raises(GarbledAnswer):
        listed(output)


def test_every_documented_state_and_code_is_known():
    states = ["ACC", "QUE", "RNA", "HLD", "SPP", "SPD", "RNP", "RUN", "RNE", "RNO", "RSM", "EXT", "CCL", "ERR", "RJT"]
    assert sorted([*STATES, *ENDED]) == sorted(states)
    codes = [1, 2, 3, 4, 6, 7, 8, 9, 11, 12, 13, 16, 18, *range(20, 24), *range(25, 31), 100, 120, 140, 160, 180]
    assert sorted(code for code in END_CODES if code > 0) == [code for code in codes if code != 24]


def test_no_end_but_success_is_a_success():
    assert failure_of(JobEnd(0)) is None
    ends = [*(JobEnd(code) for code in END_CODES), JobEnd(0, exit_code=1), JobEnd(0, signal=9), JobEnd(24)]
    assert all(failure_of(end) is not None for end in ends)
    assert all(meaning_of(end).state in (JobState.FAILED, JobState.TIMEOUT, JobState.CANCELLED) for end in ends)


def test_only_the_machine_and_the_users_are_free_of_charge():
    free = {cause for code in END_CODES.values() for cause in [code.cause]} & {
        Cause.MACHINE,
        Cause.PREEMPTION,
        Cause.USER,
    }
    for code, meaning in END_CODES.items():
        assert failure_of(JobEnd(code)).failure.free == (meaning.cause in free or meaning.cause is Cause.DISK), code


def test_a_code_that_no_manual_lists_is_reported_not_repeated():
    assert meaning_of(JobEnd(24)).reaction is Reaction.REPORT


def test_sentences_name_code_and_reason():
    assert sentence(JobEnd(11, reason="ELAPSE LIMIT EXCEEDED")) == (
        "elapse limit exceeded (PJM code 11): ELAPSE LIMIT EXCEEDED"
    )
    assert sentence(JobEnd(0, 3)) == "the job script failed: exit code 3"
    assert sentence(JobEnd(0, 137, 9)) == "the job script failed: signal 9"
