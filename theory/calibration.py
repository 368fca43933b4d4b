"""Whether a test rejects as often as it says."""

from collections.abc import Callable

from theory.claim import Verdict


def rejects(verdict: Verdict) -> bool:
    """Returns whether a verdict speaks against the claim."""
    return verdict.level in ("refuted", "direction")


def rejections(trial: Callable[[], Verdict], sets: int) -> list[bool]:
    """Returns for each of a number of simulated data sets whether the test rejected.

    Args:
        trial: Simulates a data set and tests it.
        sets: Number of data sets.
    """
    return [rejects(trial()) for _ in range(sets)]
