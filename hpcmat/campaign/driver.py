"""The driver: one loop that collects what has ended, decides what is next and hands it to free workers.

It owns no science and remembers nothing but the fold of its journal. Each event is in the journal before the act it
announces; events that one pass brings forth go there together, since a transaction waits for the disk. A process
that dies at any instant leaves either a decision without a result, which is submitted again, or a result without an
event, which is adopted from the result store.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from queue import Empty, SimpleQueue

from hpcmat.campaign.events import Adoption, Decided, Ended, Event, Failed, Finished, Stopping, Submitted, event_json
from hpcmat.campaign.folder import CampaignFolder
from hpcmat.campaign.kinds import kind_of
from hpcmat.campaign.resources import nodes_occupied
from hpcmat.campaign.state import CampaignState, TaskState
from hpcmat.dispatch.dispatcher import Dispatcher
from hpcmat.dispatch.executor import is_lost_worker
from hpcmat.dispatch.worker import Order
from hpcmat.engines.labelling import LabelRequest
from hpcmat.engines.ladder import next_remedies
from hpcmat.errors import StorageError
from hpcmat.records import Execution, Failure, FailureKind, Record, Task, decode, encode
from hpcmat.store.claims import Process
from hpcmat.store.journal import Journal
from hpcmat.store.results import Attempt, AttemptState, ResultStore, accepted_of

Observer = Callable[[Event, CampaignState], None]

_POLL_S = 0.2
"""How often stop requests and tasks of earlier drivers are looked at while nothing ends."""
_GROUP_S = 0.1
"""A pass that decides for longer hands over what it has decided so far: workers wait for it."""
_FREE_ATTEMPTS = 20
"""Attempts lost to the machine after which even a free failure gives the task up."""


class Driver:
    """Runs one campaign to its end, or until it is asked to stop.

    Parameters
    ----------
    folder, journal, state : the campaign, its journal opened for writing, and the fold of all its events.
    dispatcher : where tasks run; entered by the caller.
    cores_per_node : for the account in node-hours.
    observer : told of every event after it is durable, with a state that may hold later ones of the same pass.
    """

    def __init__(
        self,
        folder: CampaignFolder,
        journal: Journal,
        state: CampaignState,
        dispatcher: Dispatcher,
        cores_per_node: int,
        observer: Observer,
    ) -> None:
        assert state.created is not None, "a journal begins with its Created event"
        self.state = state
        self._folder = folder
        self._journal = journal
        self._dispatcher = dispatcher
        self._cores_per_node = cores_per_node
        self._observer = observer
        self._identity = state.created.identity
        self._store_root = state.created.store
        self._store = ResultStore(state.created.store)
        self._process = Process.current()
        self._kind = kind_of(state, folder, self._store, dispatcher.workers)
        self._futures: dict[str, Future[str]] = {}
        """Of the tasks that are out, by task."""
        self._ended: SimpleQueue[str] = SimpleQueue()
        """Tasks whose futures are done, put there by the dispatcher's threads."""
        self._staged: list[Event] = []
        self._outbox: list[Order] = []
        """What may be handed over once the staged events are durable."""
        self._group_began = 0.0
        self._foreign: set[str] = set()
        """Tasks that processes of an earlier driver, or of another campaign, are executing now."""

    def run(self) -> None:
        """Run until the campaign is complete or stopped.

        Raises
        ------
        StorageError
            The journal or the result store cannot be written; the journal is sound and another driver can go on, with
            a state folded from it.
        """
        try:
            self._adopt()
            while True:
                self._collect()
                self._consider_stopping()
                self._fill()
                self._hand_over()
                if not self._futures and not self._foreign:
                    # What was begun last may have come from the store, and be the reason to stop.
                    self._consider_stopping()
                    break
                self._consider_leaving()
                self._wait()
            self._end()
        finally:
            # What became known before an error is kept; after one of the journal itself nothing is staged.
            self._commit()

    def _adopt(self) -> None:
        """Settle what earlier drivers had handed over: take results, wait for live processes, submit the rest again."""
        for task in self.state.open_tasks:
            if task.status == "running":
                self._settle(task, earlier=True)

    def _collect(self) -> None:
        while not self._ended.empty():
            identity = self._ended.get()
            self._settle(self.state.tasks[identity], error=self._futures.pop(identity).exception())
        for identity in sorted(self._foreign):
            self._settle(self.state.tasks[identity])

    def _settle(self, task: TaskState, *, earlier: bool = False, error: BaseException | None = None) -> None:
        """Bring the state of a submitted task in line with what the result store holds, whatever its worker said."""
        self._foreign.discard(task.id)
        record = self._store.record_of(task.key, task.attempts_before + 1) if error is None else None
        if record is not None and record.accepted:
            # The usual case is settled by one file.
            self._finish(task, record, earlier)
            return
        attempts = self._store.attempts(task.key)
        accepted = accepted_of(attempts)
        new = [attempt for attempt in attempts if attempt.number > task.attempts_before]
        if accepted is not None and accepted.record is not None:
            self._finish(task, accepted.record, earlier)
        elif any(attempt.state is AttemptState.RUNNING for attempt in attempts):
            self._foreign.add(task.id)
        elif isinstance(error, StorageError):
            raise error
        elif new:
            failure, execution = _what_failed(new[-1], self._identity)
            self._fail(task, failure, execution)
            if failure.failure is FailureKind.DISK_FULL and not earlier:
                # Repeated at once it would fail again, until every task was given up.
                raise StorageError(f"{self._store_root}: {failure.message}; free space and run the same command again")
        elif error is not None:
            self._fail(task, _never_began(error), None)
        elif not self._suspended:
            # Its driver died between writing the event and reaching a worker: nothing began, nothing is lost.
            self._start(task)

    def _finish(self, task: TaskState, record: Record, earlier: bool) -> None:
        adopted: Adoption = "earlier driver" if earlier else ""
        if record.provenance.campaign != self._identity:
            adopted = "earlier campaign"
        elif record.provenance.decision != task.id:
            adopted = "other task"
        summary = self._kind.summarise(record, task, self.state)
        self._append(Finished(task.id, summary, record.execution, adopted))

    def _fail(self, task: TaskState, failure: Failure, execution: Execution | None) -> None:
        self._append(Failed(task.id, failure, execution, self._remedies(task, failure)))

    def _remedies(self, task: TaskState, failure: Failure) -> tuple[str, ...] | None:
        charged = [a.remedies for a in task.failures if not a.failure.failure.free]
        free = len(task.failures) - len(charged)
        if failure.failure.free:
            return task.remedies if free + 1 < _FREE_ATTEMPTS else None
        if len(charged) + 1 >= self.state.specification.failures.max_attempts:
            return None
        return next_remedies(failure, (*charged, task.remedies))

    def _consider_stopping(self) -> None:
        if self.state.stopping is None and self._folder.stop_request.exists():
            self._append(Stopping("asked", "stop requested; what runs may end"))
        if self.state.stopping is None and self._dispatcher.draining:
            self._append(Stopping("allocation", "the allocation is about to end, or has lost nodes; what runs may end"))
        if self.state.stopping is None and (reason := self._kind.stopping(self.state, self._now())):
            self._append(reason)

    def _consider_leaving(self) -> None:
        """Where all that is left waits for the next allocation, this one is given back."""
        if self._suspended or self._foreign or len(self._futures) > self._dispatcher.held:
            return
        self._append(Stopping("allocation", "nothing that waits could end before the allocation does"))

    @property
    def _suspended(self) -> bool:
        """Whether nothing begins any more until another driver takes the campaign up."""
        return self.state.stopping is not None and self.state.stopping.resumable

    def _now(self) -> float:
        """Seconds since the epoch of the journal's times."""
        return time.time()

    def _fill(self) -> None:
        """Give every free worker the best task that exists now."""
        if not self._dispatcher.healthy:
            self._dispatcher.restart()
        if self._suspended:
            self._dispatcher.give_back()
            return
        while len(self._futures) + len(self._outbox) + len(self._foreign) < self._dispatcher.room:
            task = self._next_waiting() or self._next_decided()
            if task is None:
                return
            self._start(task)

    def _next_waiting(self) -> TaskState | None:
        return next(iter(self.state.startable), None)

    def _next_decided(self) -> TaskState | None:
        decision = self._kind.decide(self.state)
        if decision is None:
            return None
        self._append(Decided(decision))
        return self.state.tasks[decision.task.id]

    def _start(self, task: TaskState) -> None:
        attempts = self._store.attempts(task.key)
        accepted = accepted_of(attempts)
        if accepted is not None and accepted.record is not None:
            self._finish(task, accepted.record, earlier=True)
            return
        equipped = self._with_remedies(task)
        equipped = replace(equipped, resources=self._dispatcher.resources(equipped))
        nodes = nodes_occupied(equipped.resources, self._cores_per_node)
        self._append(Submitted(task.id, task.remedies, len(attempts), nodes))
        self._outbox.append(self._order(equipped, task.decision.predicted_s))
        if time.monotonic() - self._group_began > _GROUP_S:
            self._hand_over()

    def _order(self, task: Task, predicted_s: float | None) -> Order:
        return Order(task, self._store_root, self._process, self._cores_per_node, predicted_s=predicted_s)

    def _with_remedies(self, task: TaskState) -> Task:
        decided = task.decision.task
        if decided.kind != "label" or not task.remedies:
            return decided
        request = replace(decode(LabelRequest, decided.request), remedies=task.remedies)
        return replace(decided, request=encode(request))

    def _wait(self) -> None:
        if self._ended.empty():
            self._kind.foresee(self.state)
        try:
            # Put back for the collection, which comes next.
            self._ended.put(self._ended.get(timeout=_POLL_S))
        except Empty:
            return

    def _end(self) -> None:
        stopping = self.state.stopping
        complete = stopping is not None and not stopping.resumable
        sentence = stopping.sentence if stopping else "nothing left to do"
        self._append(Ended(complete, sentence))
        self._commit()
        self._folder.stop_request.unlink(missing_ok=True)

    def _append(self, event: Event) -> None:
        if not self._staged:
            self._group_began = time.monotonic()
        entry = self._journal.stage(event.kind, event_json(event))
        self.state.apply(event, entry.time)
        self._staged.append(event)

    def _commit(self) -> None:
        """Make the staged events durable, and tell of them."""
        events, self._staged = self._staged, []
        self._journal.commit()
        for event in events:
            self._observer(event, self.state)

    def _hand_over(self) -> None:
        """Do what was announced, once that is durable."""
        self._commit()
        orders, self._outbox = self._outbox, []
        for order in orders:
            self._submit(order)

    def _submit(self, order: Order) -> None:
        identity = order.task.id
        self._futures[identity] = future = self._dispatcher.submit(order)
        future.add_done_callback(lambda _: self._ended.put(identity))


def _what_failed(attempt: Attempt, campaign: str) -> tuple[Failure, Execution | None]:
    """What became of an attempt, and what it cost this campaign."""
    record = attempt.record
    if record is None:
        return Failure(FailureKind.KILLED, "its process vanished without a record"), None
    paid = record.execution if record.provenance.campaign == campaign else None
    return decode(Failure, record.outcome), paid


def _never_began(error: BaseException) -> Failure:
    kind = FailureKind.NODE_LOST if is_lost_worker(error) else FailureKind.CRASH
    return Failure(kind, f"its worker did not begin it: {type(error).__name__}: {error}"[:500])
