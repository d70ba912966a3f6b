"""Sweeps: the gate runs a fixed sample of each, `nox -s soak` the whole from a seed that it prints.

A test takes its seeds from here and carries the mark `soak`:

    @pytest.mark.soak
    @pytest.mark.parametrize("seed", seeds(sample=5, soak=500))
    def test_...(seed: int) -> None:

A seed that fails in the soak becomes a case of its own, which the gate then always runs.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

BASE_SEED = os.environ.get("SOAK_SEED")
"""Set by `nox -s soak` alone; each of its workers reads the same."""


def seeds(*, sample: int, soak: int) -> list[int]:
    """Give the same `sample` seeds on each run of the gate, and `soak` others on each soak."""
    if BASE_SEED is None:
        return list(range(sample))
    return random.Random(BASE_SEED).sample(range(2**32), soak)


def count(*, sample: int, soak: int) -> int:
    """Give the number of examples or rounds: `sample` in the gate, `soak` in the soak."""
    return sample if BASE_SEED is None else soak


def some(cases: Sequence[T], *, sample: int) -> Sequence[T]:
    """Give all cases in the soak, and in the gate about `sample` of them: evenly spaced, the first and the last included."""
    if BASE_SEED is not None or sample >= len(cases):
        return cases
    return [cases[number * (len(cases) - 1) // (sample - 1)] for number in range(sample)]
