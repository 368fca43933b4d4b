"""Budgets, and the meter that counts what a run has spent."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Budget:
    """What a run may spend; the first limit reached ends it. None: no limit.

    Attributes:
        evaluations: Proposals evaluated, those that failed included.
        simulated_seconds: Training time by the benchmark's own account.
        tokens: Tokens of a language model, read and written.
        wall_seconds: Time on the clock while the run was driven.
    """

    evaluations: int | None = None
    simulated_seconds: float | None = None
    tokens: int | None = None
    wall_seconds: float | None = None

    def limits(self) -> dict[str, float]:
        """Returns the limits that are set, by name."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) is not None}


class Meter:
    """Counts what one run spends.

    Attributes:
        budget: What it may spend.
        evaluations, simulated_seconds, tokens, wall_seconds: Spent so far, as in `Budget`.
    """

    __slots__ = ("_limits", "budget", "evaluations", "simulated_seconds", "tokens", "wall_seconds")

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self._limits = tuple(budget.limits().items())
        self.evaluations = 0
        self.simulated_seconds = 0.0
        self.tokens = 0
        self.wall_seconds = 0.0

    def room(self) -> float:
        """Returns how many evaluations are left, `inf` without a limit."""
        limit = self.budget.evaluations
        return math.inf if limit is None else limit - self.evaluations

    def charge(self, seconds: Sequence[float]) -> int:
        """Counts evaluations one after the other, until a limit is reached.

        Args:
            seconds: Simulated training time of each; NaN, where it is unknown, counts as nothing.

        Returns:
            How many were counted.
        """
        for count, spent in enumerate(seconds, start=1):
            self.evaluations += 1
            if spent == spent:
                self.simulated_seconds += spent
                if self.reached():
                    return count
        return len(seconds)

    def reached(self) -> str | None:
        """Returns the name of a limit that is reached, or None."""
        for name, limit in self._limits:
            if getattr(self, name) >= limit:
                return name
        return None
