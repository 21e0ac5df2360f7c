"""A driver that dies of SIGKILL: `mortal_driver.py CAMPAIGN.toml FOLDER STORE N` at once after its Nth transaction.

At 0 it dies with the journal made and still empty. What its last events announce has not begun when it dies.
"""

import os
import signal
import sys
from pathlib import Path

from hpcmat.campaign import folder as campaign_folder
from hpcmat.campaign.folder import CampaignFolder
from hpcmat.campaign.lifecycle import Start, run_campaign
from hpcmat.campaign.specification import load_specification
from hpcmat.dispatch.sites import load_site
from hpcmat.store.journal import Journal


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class MortalJournal(Journal):
    """Ends its process after so many transactions."""

    left = int(sys.argv[4])

    def append(self, events: object) -> object:
        if not MortalJournal.left:
            die()
        return super().append(events)

    def commit(self) -> None:
        written = bool(self._staged)
        super().commit()
        MortalJournal.left -= written
        if written and not MortalJournal.left:
            die()


campaign, folder, store, _ = sys.argv[1:]
campaign_folder.Journal = MortalJournal
start = Start(CampaignFolder(Path(folder)), Path(store), load_site("local"))
run_campaign(load_specification(Path(campaign)), start, lambda event, state: None)
