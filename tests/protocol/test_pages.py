"""Pages: how they are read, and the way through a list that changes meanwhile."""

from collections.abc import Callable, Iterator, Sequence

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.tables import table

from cyberun_async._protocol.pages import MAX_STALE, Page, PageCursor


@attrs.frozen
class Item:
    """Something with an id."""

    id: str


Serve = Callable[[int], Page[Item]]
"""Answers the request for a page."""


def items(names: Sequence[object]) -> tuple[Item, ...]:
    """Give items of these names."""
    return tuple(Item(str(name)) for name in names)


def walk(serve: Serve, *, most: int = 100) -> tuple[list[str], list[int]]:
    """Go through a list, and give what was told and which pages were asked for."""
    way: PageCursor[Item] = PageCursor()
    told: list[str] = []
    asked: list[int] = []
    while way.number is not None:
        assert len(asked) < most, f"it does not end: {asked}"
        asked.append(way.number)
        told += [item.id for item in way.take(way.number, serve(way.number))]
    return told, asked


def pages_of(names: Sequence[object], size: int = 100, *, total: int | None = None, says_total: bool = True) -> Serve:
    """Serve a list that stays as it is."""

    def serve(number: int) -> Page[Item]:
        shown = items(names[(number - 1) * size : number * size])
        return Page(shown, size, (len(names) if total is None else total) if says_total else None)

    return serve


@table(
    ("count", "requests"),
    [
        pytest.param(0, 1, id="empty"),
        pytest.param(1, 1, id="one"),
        pytest.param(99, 1, id="almost a page"),
        pytest.param(100, 1, id="a page"),
        pytest.param(101, 2, id="a page and one"),
        pytest.param(300, 3, id="three pages"),
    ],
)
def test_as_many_requests_as_pages(count: int, requests: int) -> None:
    """A list that stays as it is costs one request for each page, and tells each item once and in order."""
    names = [str(number) for number in range(count)]

    assert (names, list(range(1, requests + 1))) == walk(pages_of(names))


@table(
    ("serve", "told", "asked"),
    [
        pytest.param(pages_of(range(250), says_total=False), 250, [1, 2, 3, 4], id="no total"),
        pytest.param(pages_of([], says_total=False), 0, [1], id="no total, empty"),
        pytest.param(pages_of(range(45), 20), 45, [1, 2, 3], id="smaller pages, and it says so"),
        pytest.param(
            lambda number: attrs.evolve(pages_of(range(45), 20)(number), size=100), 45, [1, 2, 3], id="smaller pages"
        ),
        pytest.param(
            lambda number: attrs.evolve(pages_of(range(45), 20)(number), size=0), 45, [1, 2, 3], id="size of zero"
        ),
        pytest.param(pages_of(range(45), total=1000), 45, [1, 2], id="fewer than it says"),
        pytest.param(pages_of(range(150), total=-1), 100, [1], id="nonsense for a total"),
        pytest.param(lambda _: Page(items(range(100)), 100, 1000), 100, [1, 2], id="the same page for ever"),
        pytest.param(lambda _: Page(items(range(20))), 20, [1, 2], id="the same page for ever, no total"),
        pytest.param(lambda _: Page((), 100, 1000), 0, [1], id="empty pages for ever"),
        pytest.param(lambda _: Page(items(["a", "a", "b"]), 100, 3), 2, [1, 2], id="an item twice on a page"),
    ],
)
def test_odd_lists(serve: Serve, told: int, asked: list[int]) -> None:
    """A list that is not as documented is told as far as it goes, and ends."""
    names, pages = walk(serve)

    assert (told, asked) == (len(names), pages)
    assert len(set(names)) == len(names)


@table(
    "totals",
    [
        pytest.param(lambda number: 1000 * number, id="grows for ever"),
        pytest.param(lambda number: -number, id="shrinks for ever"),
        pytest.param(lambda number: 500 + 100 * (-1) ** number, id="swings for ever"),
        pytest.param(lambda number: 100 + 100 * number, id="grows for ever by a page"),
        pytest.param(lambda number: 1000 if number == 1 else 10**9, id="has grown without end"),
    ],
)
def test_no_list_goes_on_for_ever(totals: Callable[[int], int]) -> None:
    """A server that says all the time that its list has changed, and never shows anything new, is given up on."""
    requests = iter(range(1, 10_000))
    names, asked = walk(lambda _: Page(items(range(100)), 100, totals(next(requests))))

    assert len(names) == 100
    assert len(asked) <= MAX_STALE + 2


def changing(names: list[str], changes: Iterator[tuple[int, Sequence[int]]], size: int) -> Serve:
    """Serve a list to whose front items are added, or from which some are taken away, between any two requests."""
    fresh = iter(range(10_000_000))
    was_asked = False

    def serve(number: int) -> Page[Item]:
        nonlocal was_asked
        if was_asked:
            added, removed = next(changes, (0, ()))
            names[:0] = [f"new {next(fresh)}" for _ in range(added)]
            for place in removed:
                if names:
                    names.pop(place % len(names))
        was_asked = True
        return Page(items(names[(number - 1) * size : number * size]), size, len(names))

    return serve


CHANGES = st.lists(
    st.one_of(
        st.just((0, ())),
        st.tuples(st.integers(1, 60), st.just(())),
        st.tuples(st.just(0), st.lists(st.integers(0, 10_000), min_size=1, max_size=60)),
    ),
    max_size=20,
)


@example(
    # Far more is added than is read, and the pages after that tell nothing new for long.
    count=21,
    size=20,
    changes=[(added, ()) for added in (59, 0, 45, 40, 60, 0, 0, 0, 1, 15, 60, 60)],
)
@given(count=st.integers(0, 200), size=st.sampled_from([10, 20, 100]), changes=CHANGES)
def test_lists_that_change(count: int, size: int, changes: list[tuple[int, Sequence[int]]]) -> None:
    """Whatever is added in front or taken away meanwhile, what was there all along is told, and nothing twice."""
    names = [str(number) for number in range(count)]
    told, _ = walk(changing(names, iter(changes), size), most=1000)

    assert len(set(told)) == len(told)
    assert {name for name in names if not name.startswith("new")} <= set(told)


@given(count=st.integers(0, 500), changes=st.lists(st.integers(0, 40), max_size=10))
def test_lists_that_grow_in_front(count: int, changes: list[int]) -> None:
    """A list that only grows in front is told in its order, and costs at most a request more for what was added."""
    names = [str(number) for number in range(count)]
    before = list(names)
    told, asked = walk(changing(names, iter([(added, ()) for added in changes]), 100))

    assert before == [name for name in told if not name.startswith("new")]
    assert list(range(1, len(asked) + 1)) == asked
    assert len(asked) <= -(-max(len(names), 1) // 100) + 1
