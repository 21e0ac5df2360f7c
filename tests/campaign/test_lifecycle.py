"""Begin, stop, resume, amend: one campaign through all stations, as its user would lead it."""

import fcntl
import signal
import subprocess
from collections import Counter

import pytest
from harness import Trial, kill

from hpcmat.campaign import lifecycle
from hpcmat.campaign.events import Amended
from hpcmat.campaign.folder import CampaignFolder
from hpcmat.campaign.lifecycle import Start, request_stop, run_campaign
from hpcmat.campaign.spec import load_campaign
from hpcmat.dispatch.sites import load_site
from hpcmat.errors import BusyError, InputError, StorageError
from hpcmat.store.journal import sqlite_url


def ignore(event, state):
    """Observer of a run that is refused."""


class Story:
    """What was seen at each station."""

    def __init__(self, trial):
        self.trial = trial
        self.url = sqlite_url(trial.root / "elsewhere.sqlite")
        self.states = {}
        self.starts = {}

    def start(self):
        return self.trial.start("--journal", self.url)

    def run_here(self):
        """Run it in this process, which can only be refused."""
        campaign = load_campaign(self.trial.file)
        run_campaign(campaign, Start(self.trial.folder, self.trial.store, load_site("local")), ignore)

    def note(self, station, driver):
        code = driver.wait(timeout=200)
        assert code == 0, self.trial.errors
        self.states[station] = self.trial.state()
        self.starts[station] = Counter(self.trial.executions("start"))

    def until_a_label_runs(self, driver):
        began = self.trial.executions("start").total()
        while self.trial.executions("start").total() == began:
            assert driver.poll() is None, self.trial.errors
            try:
                driver.wait(timeout=0.05)
            except subprocess.TimeoutExpired:
                continue

    def edit(self, old, new):
        text = self.trial.file.read_text()
        assert old in text
        self.trial.file.write_text(text.replace(old, new))


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    told = Story(Trial(tmp_path_factory.mktemp("story"), labels=20, median_s=0.4, sigma=0.3))
    driver = told.start()
    try:
        told.until_a_label_runs(driver)
        with pytest.raises(BusyError) as refused:
            told.run_here()
        told.refusal = str(refused.value)
        told.running = told.trial.folder.driven
        told.asked = request_stop(told.trial.folder)
        told.note("asked", driver)
        driver = told.start()
        told.until_a_label_runs(driver)
        driver.send_signal(signal.SIGTERM)
        told.note("terminated", driver)
        told.note("finished", driver := told.start())
        told.note("again", driver := told.start())
        told.edit("labels = 20", "labels = 30")
        moved = told.trial.store.rename(told.trial.root / "moved")
        with pytest.raises(StorageError) as gone:
            told.run_here()
        told.loss = str(gone.value)
        moved.rename(told.trial.store)
        told.note("amended", driver := told.start())
    finally:
        kill(driver)
    return told


def test_one_who_looks_whether_a_campaign_is_driven_keeps_no_driver_out(tmp_path, monkeypatch):
    """`hpcmat status` holds the lock for an instant, in which a driver may begin."""
    trial = Trial(tmp_path, labels=20)
    trial.folder.root.mkdir()
    trial.folder.lock.touch()
    with trial.folder.lock.open() as looker:
        fcntl.flock(looker, fcntl.LOCK_SH)
        assert trial.folder.driven is False, "looking shares the lock"
        monkeypatch.setattr(lifecycle.time, "sleep", lambda _: fcntl.flock(looker, fcntl.LOCK_UN))
        with lifecycle._locked(trial.folder):
            assert trial.folder.driven


def test_second_driver_is_sent_away(story):
    assert "another driver runs this campaign" in story.refusal


def test_request_to_stop_drains(story):
    assert story.running
    assert story.asked
    assert_drained(story.states["asked"])


def test_sigterm_drains(story):
    assert_drained(story.states["terminated"])
    assert story.starts["terminated"].total() > story.starts["asked"].total()


def assert_drained(state):
    assert not state.ended.complete
    assert state.stopping.reason == "asked"
    assert not [task for task in state.open_tasks if task.status == "running"]
    assert 0 < len(state.done("train", "validation")) < 20


def test_resumed_campaign_ends_as_if_nothing_had_been(story):
    state = story.states["finished"]
    assert state.ended.complete
    assert len(state.done("train", "validation")) == 20
    assert len(state.runs) == 3
    assert set(story.starts["finished"].values()) == {1}


def test_completed_campaign_does_nothing_when_run_again(story):
    assert story.starts["again"] == story.starts["finished"]
    assert story.states["again"].last_time == story.states["finished"].last_time
    assert len(story.states["again"].runs) == 3


def test_store_that_is_gone_is_named_instead_of_computing_all_again(story):
    assert "is gone; put it back" in story.loss
    assert str(story.trial.store) in story.loss


def test_larger_budget_is_taken_up(story):
    state = story.states["amended"]
    assert state.ended.complete
    assert len(state.done("train", "validation")) == 30
    assert state.campaign.budget.labels == 30
    assert set(story.starts["amended"].values()) == {1}
    assert story.starts["amended"].total() == 30


def test_journal_may_lie_in_another_database(story):
    folder = story.trial.folder
    assert not folder.journal_file.exists()
    assert folder.journal_pointer.read_text().split()[0] == story.url
    assert (story.trial.root / "elsewhere.sqlite").exists()


def test_nobody_runs_a_campaign_that_has_ended(story, tmp_path):
    assert not story.trial.folder.driven
    assert not request_stop(story.trial.folder)
    assert not story.trial.folder.stop_request.exists()
    assert not CampaignFolder(tmp_path).driven


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("a_ang = 5.431", "a_ang = 5.5", "system.structures"),
        ('method = "rattle"', 'method = "md"', "explore.method"),
        ("seed = 3", "seed = 4", "seed"),
        ('name = "trial"', 'name = "other"', "name"),
    ],
)
def test_change_that_would_make_it_another_campaign_is_refused_by_name(story, old, new, named):
    before, journal = story.trial.file.read_text(), (story.trial.root / "elsewhere.sqlite").read_bytes()
    story.edit(old, new)
    try:
        with pytest.raises(InputError, match=f"another {named}.*--out.*only budget"):
            story.run_here()
    finally:
        story.trial.file.write_text(before)
    assert (story.trial.root / "elsewhere.sqlite").read_bytes() == journal


def test_amendment_says_what_changed(story):
    from hpcmat.campaign.events import read_event

    journal = story.trial.folder.journal()
    events = [read_event(entry.payload) for entry in journal.read()]
    journal.close()
    assert [event.changes for event in events if isinstance(event, Amended)] == [("budget.labels",)]
