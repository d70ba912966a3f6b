"""Any interleaving of items, cancellations, kills, full disks and restarts: nothing is paid for twice, and nothing is lost."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import anyio
import pytest
from batch.unreliable import Instants, Reply, World
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from support.sampling import BASE_SEED, count

from cyberun_async import AsyncClient, ConfigurationError, CyberunError, Journal, Outcome

KEYS = 5
"""Items; few, so that they meet often."""

REPLIES: list[Reply] = [
    "done",
    "done",
    "fails",
    "lost",
    "lost on the way",
    "500",
    "500 although done",
    "403",
    "no id",
    "bad id",
]
BACKENDS = ["trio", "asyncio", "asyncio, by a task"]

items_of = st.lists(st.integers(0, KEYS - 1), min_size=1, max_size=KEYS, unique=True)
some_replies = st.lists(st.sampled_from(REPLIES), max_size=4)
disks = st.one_of(
    st.just(range(0)),
    st.builds(
        lambda start, length: range(start, start + length), st.integers(15, 90), st.sampled_from([1, 5, 20, 1000])
    ),
)
strikes = st.one_of(st.none(), st.tuples(st.sampled_from(["cancel", "kill"]), st.integers(0, 120)))


def uncertain_rows(world: World) -> set[int]:
    """Find the items that the journal does not know the fate of, by a reading of its own."""
    return {
        int(key)
        for key, (state, task_id, outcome, _) in world.rows().items()
        if (task_id, outcome, state != "new") == (None, None, True)
    }


class AnyOrder(RuleBasedStateMachine):
    """Runs of batches and single submissions over one journal, each with what may go wrong in it."""

    def __init__(self) -> None:
        """Begin with an empty folder."""
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.world = World(self.folder / "journal")

    def teardown(self) -> None:
        """Let a batch without any trouble tell what became of all items."""
        try:
            outcomes = self._batch(range(KEYS), BACKENDS[0])
            assert outcomes is not None
            assert len(outcomes) == KEYS
            assert all(outcome.task_id or outcome.is_uncertain for outcome in outcomes)
        finally:
            shutil.rmtree(self.folder)

    @rule(
        items=items_of,
        backend=st.sampled_from(BACKENDS),
        replies=some_replies,
        full=disks,
        strike=strikes,
        rolls_back=st.booleans(),
        max_in_flight=st.integers(1, 4),
        resubmit=st.sets(st.sampled_from(["uncertain", "failed"])),
        attempts=st.integers(1, 2),
        lists=st.booleans(),
    )
    def batch(self, items: list[int], backend: str, lists: bool, **trouble: Any) -> None:
        """Run a batch over some of the items."""
        self.world.service.lists = lists
        self._batch(items, backend, **trouble)

    @rule(
        items=items_of,
        backend=st.sampled_from(BACKENDS),
        replies=some_replies,
        full=disks,
        strike=strikes,
        rolls_back=st.booleans(),
    )
    def submit_once(self, items: list[int], backend: str, **trouble: Any) -> None:
        """Ask for the tasks of some items, each from two callers at once."""
        ids: dict[int, set[str]] = {n: set() for n in items}

        async def ask(client: AsyncClient, journal: Journal, n: int) -> None:
            with suppress(CyberunError):
                ids[n].add(await client.submit_once(str(n), "work", {"n": n}, journal=journal))

        async def work(client: AsyncClient, journal: Journal) -> None:
            async with anyio.create_task_group() as group:
                for n in [*items, *items]:
                    group.start_soon(ask, client, journal, n)

        self._prepare(**trouble)
        self.world.run(work, backend)
        self._check()
        for n, found in ids.items():
            assert len(found) <= 1
            assert found <= self.world.service.tasks[n].keys()

    @rule(which=st.integers(0, KEYS - 1))
    def settle(self, which: int) -> None:
        """Tell the journal the truth about an uncertain item: which task it is, or that it has none."""
        uncertain = sorted(uncertain_rows(self.world))
        if not uncertain:
            return
        # What is drawn must not depend on them, since they depend on the order of threads.
        n = uncertain[which % len(uncertain)]
        task_id = next(reversed(self.world.service.tasks[n]), None)

        async def work(_: AsyncClient, journal: Journal) -> None:
            await journal.settle("work", str(n), task_id)

        self._prepare()
        self.world.run(work, "asyncio")
        self._check()

    # What all have in common

    def _prepare(
        self,
        *,
        replies: Sequence[Reply] = (),
        full: range = range(0),
        strike: tuple[Literal["cancel", "kill"], int] | None = None,
        rolls_back: bool = False,
    ) -> None:
        world = self.world
        world.service.replies = list(replies)
        world.service.permits = set()
        world.service.may_repeat_failed = False
        kind, strike_at = strike or ("cancel", None)
        world.instants = Instants(strike_at=strike_at, full=full, rolls_back=rolls_back)
        if kind == "kill":
            world.instants.strike = world.kill

    def _batch(
        self,
        items: Sequence[int],
        backend: str,
        *,
        max_in_flight: int = 3,
        resubmit: Any = (),
        attempts: int = 1,
        **trouble: Any,
    ) -> list[Outcome] | None:
        async def work(client: AsyncClient, journal: Journal) -> list[Outcome] | ConfigurationError:
            options: Any = {"journal": journal, "resubmit": resubmit, "attempts": attempts}
            given = [(str(n), {"n": n}) for n in items]
            try:
                return await client.map("work", given, max_in_flight=max_in_flight, **options).gather()
            except ConfigurationError as error:
                return error

        self._prepare(**trouble)
        service = self.world.service
        service.permits = uncertain_rows(self.world) & set(items) if "uncertain" in resubmit else set()
        service.may_repeat_failed = "failed" in resubmit or attempts > 1
        outcomes: Any = self.world.run(work, backend)
        self._check()
        if isinstance(outcomes, ConfigurationError):
            assert "disk is full" in str(outcomes)
            return None
        for outcome in outcomes or ():
            self._check_outcome(outcome)
        return outcomes  # type: ignore[no-any-return]

    def _check(self) -> None:
        assert not self.world.service.wrong
        self.world.check_disk()

    def _check_outcome(self, outcome: Outcome) -> None:
        """See to it that a task that is paid for is named, or that its item is uncertain, unless the disk said no."""
        tasks = self.world.service.tasks[int(outcome.key)]
        assert outcome.task_id is None or outcome.task_id in tasks
        if outcome.task_id is None and tasks and not outcome.is_uncertain:
            assert isinstance(outcome.error, CyberunError)
            is_disk = isinstance(outcome.error, ConfigurationError)
            assert is_disk or list(tasks.values())[-1], (outcome, tasks)
        if outcome.succeeded:
            assert outcome.task_id is not None
            assert not tasks[outcome.task_id]


@pytest.mark.soak
@pytest.mark.timeout(6000)
def test_any_order() -> None:
    """Each item is submitted at most once unless that was asked for, and what was said to be written down is on the disk."""
    run_state_machine_as_test(
        AnyOrder,
        settings=settings(
            max_examples=count(sample=15, soak=3000),
            stateful_step_count=count(sample=6, soak=15),
            deadline=None,
            # To shrink takes minutes, in which the gate would time out without a word.
            phases=[phase for phase in Phase if phase != Phase.shrink or BASE_SEED is not None],
            suppress_health_check=list(HealthCheck),
        ),
    )
