"""Shares of independent units, with their intervals."""

from scipy import stats


def proportion_interval(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Returns the exact interval of a share; Clopper and Pearson (1934), Biometrika 26.

    Args:
        successes: Units that have the property.
        n: Units, at least 1.
        confidence: Coverage at least.
    """
    tail = (1 - confidence) / 2
    low = stats.beta.ppf(tail, successes, n - successes + 1) if successes > 0 else 0.0
    high = stats.beta.isf(tail, successes + 1, n - successes) if successes < n else 1.0
    return float(low), float(high)
