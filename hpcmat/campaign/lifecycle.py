"""From a campaign file to a running driver: begin, resume, amend, stop."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import FrameType
from typing import IO, Any

import hpcmat
from hpcmat.campaign.allocations import submit_successor
from hpcmat.campaign.driver import Driver, Observer
from hpcmat.campaign.events import Amended, Created, Event, RunStarted, Stopping, event_json
from hpcmat.campaign.folder import CampaignFolder
from hpcmat.campaign.resources import dispatcher_of, nodes_for
from hpcmat.campaign.spec import canonical_spec_json
from hpcmat.campaign.specification import Specification, contents_of
from hpcmat.campaign.state import CampaignState
from hpcmat.dispatch.sites import Site, machine_here
from hpcmat.errors import BusyError, InputError, StorageError
from hpcmat.records import encode
from hpcmat.store.atomic import make_folder, require_writable, storage_error, write_text
from hpcmat.store.journal import Journal

AMENDABLE = (
    "budget",
    "target",
    "failures",
    "steering",
    "governance",
    "objectives",
    "constraints",
    "search",
    "literature",
)
"""Tables of the campaign file that may change between two runs: no calculation already made depends on them."""
_LOCK_TRIES, _LOCK_PAUSE_S = 10, 0.05
_SOFTWARE = ("hpcmat", "numpy", "scipy", "numba", "ase", "parsl", "pydantic", "gpaw")


@dataclass(frozen=True, slots=True)
class Start:
    """What a run needs besides the campaign file."""

    folder: CampaignFolder
    store: Path
    site: Site
    journal_url: str | None = None
    """Another database for the journal, as an SQLAlchemy URL; only where the campaign begins."""


def run_campaign(campaign: Specification, start: Start, observer: Observer) -> CampaignState:
    """Begin a campaign or take it up where it is, and run it to its end or until it is asked to stop.

    Raises
    ------
    InputError
        The folder holds another campaign, or tasks of the site would not fit on the machine; nothing was written.
    BusyError
        Another driver runs it.
    StorageError
        Disk full, or not writable; what is in the journal and the store is sound.
    """
    _require_usable(start)
    with _locked(start.folder), _opened(campaign, start) as (journal, state):
        for event in _news(campaign, start, state):
            _append(journal, state, event, observer)
        if state.ended is not None and state.ended.complete:
            return state
        _drive(start, journal, state, observer)
        return state


def request_stop(folder: CampaignFolder) -> bool:
    """Ask the driver to drain; False where none is running."""
    folder.read()
    if not folder.driven:
        return False
    write_text(folder.stop_request, f"{os.getpid()}\n")
    return True


def _drive(start: Start, journal: Journal, state: CampaignState, observer: Observer) -> None:
    assert state.created is not None, "a journal begins with its Created event"
    _require_store(Path(state.created.store), begun=bool(state.runs))
    machine = machine_here(start.site)
    start.folder.stop_request.unlink(missing_ok=True)
    identity = str(start.folder.root.resolve())
    with dispatcher_of(start.site, machine, start.folder.logs, identity) as dispatcher:
        event = RunStarted(
            epoch=dispatcher.epoch,
            host=os.uname().nodename,
            pid=os.getpid(),
            site=start.site.name,
            workers=dispatcher.workers,
            nodes=dispatcher.nodes,
            cores=dispatcher.cores,
            cores_per_node=machine.cores_per_node,
            software=_software(),
        )
        _append(journal, state, event, observer)
        observer = _succeeding(start.folder, observer)
        driver = Driver(start.folder, journal, state, dispatcher, machine.cores_per_node, observer)
        with _draining_on_signals(start.folder):
            driver.run()


def _succeeding(folder: CampaignFolder, observer: Observer) -> Observer:
    """An observer that also asks for the next allocation once this one drains; while there is time to be heard."""

    def observe(event: Event, state: CampaignState) -> None:
        observer(event, state)
        if isinstance(event, Stopping) and event.reason == "allocation":
            submit_successor(folder)

    return observe


def _require_store(store: Path, *, begun: bool) -> None:
    """Make the result store before the first run is announced, so that one missing later is known to be lost."""
    if begun and not store.is_dir():
        raise StorageError(f"{store}: the result store of this campaign is gone; put it back, or link to where it is")
    make_folder(store)
    require_writable(store)


def _require_usable(start: Start) -> None:
    """Refuse what cannot work before the first byte is written."""
    nodes_for(start.site, machine_here(start.site))
    require_writable(start.folder.root)
    if start.folder.exists:
        return
    require_writable(start.store)
    if start.journal_url is not None:
        Journal(start.journal_url, "").close()


@contextmanager
def _locked(folder: CampaignFolder) -> Iterator[None]:
    make_folder(folder.root)
    try:
        lock = folder.lock.open("w")
    except OSError as error:
        raise storage_error(folder.lock, error) from error
    with lock:
        if not _taken(lock):
            raise BusyError(
                f"{folder.root}: another driver runs this campaign; watch it with `hpcmat watch {folder.root}` "
                f"or end it with `hpcmat stop {folder.root}`"
            )
        yield


def _taken(lock: IO[str]) -> bool:
    """Take the lock unless a driver has it: one who only looks whether it is held, holds it for an instant."""
    for _ in range(_LOCK_TRIES):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_LOCK_PAUSE_S)
        else:
            return True
    return False


@contextmanager
def _opened(campaign: Specification, start: Start) -> Iterator[tuple[Journal, CampaignState]]:
    journal = _journal(campaign, start)
    try:
        yield journal, start.folder.fold(journal)
    finally:
        journal.close()


def _journal(campaign: Specification, start: Start) -> Journal:
    folder = start.folder
    if start.journal_url is None or folder.exists:
        journal = folder.journal()
        journal.create()
        return journal
    identity = f"{campaign.name[:40]}-{uuid.uuid4().hex[:12]}"
    journal = Journal(start.journal_url, identity)
    # The pointer is written last: an address that cannot be reached must not be taken for this campaign's journal.
    journal.create()
    write_text(folder.journal_pointer, f"{start.journal_url}\n{identity}\n")
    return journal


def _news(campaign: Specification, start: Start, state: CampaignState) -> Iterator[Event]:
    """Events that make the journal agree with the campaign file."""
    contents = contents_of(campaign)
    if state.created is None:
        yield Created(
            identity=f"{campaign.name}-{uuid.uuid4().hex[:12]}",
            spec=canonical_spec_json(campaign),
            version=hpcmat.__version__,
            store=str(start.store.resolve()),
            seeds=contents.seeds,
            references=contents.references,
            names=contents.names,
        )
        return
    changes = _changes(json.loads(canonical_spec_json(state.specification)), json.loads(canonical_spec_json(campaign)))
    fixed = [key for key in changes if key.split(".")[0] not in AMENDABLE]
    named = [encode(structure) for structure in (*contents.seeds, *contents.references)]
    if not fixed and named != [encode(structure) for structure in (*state.created.seeds, *state.created.references)]:
        fixed = ["candidates" if contents.names else "system.structures"]
    if fixed:
        raise InputError(
            f"{start.folder.root}: holds a campaign with another {', '.join(fixed)}; give this one a folder of its own "
            f"with --out (only {', '.join(AMENDABLE)} may change)"
        )
    if changes:
        yield Amended(canonical_spec_json(campaign), tuple(changes))


def _changes(old: Any, new: Any, path: str = "") -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted({*old, *new})
        return [change for key in keys for change in _changes(old.get(key), new.get(key), f"{path}.{key}".strip("."))]
    return [] if old == new else [path]


@contextmanager
def _draining_on_signals(folder: CampaignFolder) -> Iterator[None]:
    """The first SIGINT or SIGTERM drains; a second SIGINT interrupts."""

    def drain(number: int, _frame: FrameType | None) -> None:
        write_text(folder.stop_request, f"signal {number}\n")
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {number: signal.signal(number, drain) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _append(journal: Journal, state: CampaignState, event: Event, observer: Observer) -> None:
    for entry in journal.append([(event.kind, event_json(event))]):
        state.apply(event, entry.time)
    observer(event, state)


def _software() -> tuple[tuple[str, str], ...]:
    installed = {name.lower(): version for name, version in ((d.name, d.version) for d in metadata.distributions())}
    return tuple((name, installed[name]) for name in _SOFTWARE if name in installed)
