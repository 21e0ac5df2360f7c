"""A driver that dies of SIGKILL: `mortal_driver.py CAMPAIGN.toml FOLDER STORE N` at once after its Nth event.

At 0 it dies with the journal made and still empty. What the event announces has not begun when it dies.
"""

import os
import signal
import sys
from pathlib import Path

from hpcmat.campaign.folder import CampaignFolder
from hpcmat.campaign.lifecycle import Start, run_campaign
from hpcmat.campaign.spec import load_campaign
from hpcmat.dispatch.sites import load_site
from hpcmat.store.journal import Journal


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Mortal:
    """Observer that ends its process after so many events."""

    def __init__(self, events: int) -> None:
        self.left = events

    def __call__(self, event: object, state: object) -> None:
        self.left -= 1
        if self.left == 0:
            die()


campaign, folder, store, events = sys.argv[1:]
if events == "0":
    Journal.append = lambda self, events: die()
start = Start(CampaignFolder(Path(folder)), Path(store), load_site("local"))
run_campaign(load_campaign(Path(campaign)), start, Mortal(int(events)))
