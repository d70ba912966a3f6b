"""Exponential back-off: how long to wait before another try, the longer the more have failed. (backoff, retry delay)"""


def backoff(failures: int, *, initial: float, maximum: float) -> float:
    """Give the seconds before the next try; with jitter, their upper bound.

    Args:
        failures: How many tries have failed before this one; each doubles the delay.
        initial: The first delay.
        maximum: The longest.

    """
    # Beyond the thirtieth any sensible maximum is reached, and a float would overflow at some time.
    return min(initial * 2.0 ** min(failures, 30), maximum)
