"""Promise 1 for screenings: their recipes hang together through the journal and the store alone."""

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from harness import Trial
from killing import assert_exactly_once, die_after, kill_driver_often, kill_workers

sys.path.append(str(Path(__file__).parents[1] / "campaign" / "screen"))

from screens import properties_alone, screen_text

from hpcmat.campaign.screen.search import ranking
from hpcmat.campaign.screen.standing import crystal_states

METALS = '["Al", "Ag", "Pt", "Au"]'
LIVES = (2, 5)
"""Transactions that each driver in turn commits before it dies."""


@dataclass
class ScreenTrial(Trial):
    """Metals and their ordered alloys, of which the three stiffest are sought."""

    def text(self) -> str:
        duration = f"{{ median_s = {self.median_s}, sigma = {self.sigma} }}"
        return screen_text(metals=METALS, engine=f'ledger = "{self.ledger}"\nduration = {duration}')


def test_screening_whose_driver_and_workers_are_killed(tmp_path):
    trial = ScreenTrial(tmp_path, median_s=0.15, sigma=0.5)
    for transactions in LIVES:
        die_after(trial, transactions)
    assert kill_driver_often(trial, 4) == 4, "the campaign ended before the last kill"
    kill_workers(trial, 3)
    assert_exactly_once(trial)
    state = trial.state()
    assert state.ended.complete and state.stopping.reason == "target"
    assert [task for task in state.done("screen") if task.adopted == "earlier driver"], "no kill hit a running label"
    alone = properties_alone(state.screen)
    crystals = crystal_states(state)
    for crystal in crystals:
        assert crystal.status in {"done", "waiting"}
        if crystal.status == "done":
            assert crystal.properties == pytest.approx(alone[crystal.name])
    stiffest = sorted(alone, key=lambda name: -alone[name]["bulk_modulus_gpa"])[:3]
    assert [crystal.name for crystal in ranking(state.screen, crystals)[:3]] == stiffest
