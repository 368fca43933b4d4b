"""What a claim is, and what may be said of it after a measurement."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Level = Literal["confirmed", "direction", "refuted", "undecided", "vacuous"]
"""How a claim fares: inside the predicted interval; right sign but wrong size; not even that; too little data to say;
or not tested, because an assumption of the claim does not hold."""


@dataclass(frozen=True)
class Evidence:
    """What the data say of one assumption.

    Attributes:
        name: Name of the assumption.
        holds: False when the data speak against it; True says only that they do not.
        evidence: The numbers, with the bounds they were held against, and n.
    """

    name: str
    holds: bool
    evidence: str


@dataclass(frozen=True)
class Assumption:
    """A condition that a claim needs, and how to check it on data.

    Attributes:
        name: Short name, the one a verdict uses.
        statement: The condition in words.
        check: Computes the evidence from the claim's data.
    """

    name: str
    statement: str
    check: Callable[..., Evidence]


@dataclass(frozen=True)
class Claim:
    """A published result.

    Attributes:
        name: Identifier.
        title: Title for a reader.
        statement: The statement as published.
        source: Where it was published.
        assumptions: What it needs.
        lemma: The corrected statement, which can be proved.
    """

    name: str
    title: str
    statement: str
    source: str
    assumptions: tuple[Assumption, ...]
    lemma: str

    def as_dict(self) -> dict[str, Any]:
        """Returns the claim as plain values for JSON; of each assumption, its name and statement."""
        assumptions = [{"name": a.name, "statement": a.statement} for a in self.assumptions]
        return {**vars(self), "assumptions": assumptions}


@dataclass(frozen=True)
class Verdict:
    """The outcome of testing a claim on data; `dataclasses.asdict` makes it JSON, unknown numbers being None.

    Attributes:
        level: The outcome.
        estimate: What was measured.
        predicted: What the claim predicts for it.
        interval: Where the estimate falls in 95% of samples if the claim holds.
        n: Number of independent units that were compared.
        assumptions: The evidence on each assumption.
        needed_n: When undecided, the number of units that would decide; else None.
        explanation: The verdict in words, with its numbers.
    """

    level: Level
    estimate: float | None
    predicted: float | None
    interval: tuple[float, float] | None
    n: int
    assumptions: tuple[Evidence, ...]
    needed_n: int | None
    explanation: str
