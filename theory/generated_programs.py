"""Generated programs: their validity, their lengths, and the errors of their tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Errors:
    """Error counts of programs, each an integer array of shape (m,).

    Attributes:
        tokens: Number of wrong tokens.
        first: 1 where the first token is wrong.
        ok: Tokens that follow a right one.
        ok_wrong: How many of them are wrong.
        early_ok: Of `ok`, those in the first half of the program.
        early_wrong: Of `ok_wrong`, those in the first half.
        before_ok: Of `ok`, those before the first error of the program or at it.
        before_wrong: Of `ok_wrong`, those that are the program's first error.
    """

    tokens: NDArray[np.int64]
    first: NDArray[np.int64]
    ok: NDArray[np.int64]
    ok_wrong: NDArray[np.int64]
    early_ok: NDArray[np.int64]
    early_wrong: NDArray[np.int64]
    before_ok: NDArray[np.int64]
    before_wrong: NDArray[np.int64]

    def of(self, kept: NDArray[np.bool_]) -> "Errors":
        """Returns the counts of some programs."""
        return Errors(**{name: counts[kept] for name, counts in vars(self).items()})


@dataclass(frozen=True)
class Programs:
    """Generated programs of one kind, full or delta; arrays of shape (m,).

    Attributes:
        valid: Whether the program, for a delta the patched program, is valid.
        length: Number of tokens (or lines) that were generated.
        matched: Whether the context of the delta matched; True for full programs.
        unit: Label of the independent unit, e.g. the seed or the parent; programs of both kinds may share it.
        errors: What is known of the errors; None when only validity is.
        left_out: Programs left out because their validity or length is unknown.
    """

    valid: NDArray[np.bool_]
    length: NDArray[np.int64]
    matched: NDArray[np.bool_]
    unit: NDArray[np.object_]
    errors: Errors | None = None
    left_out: int = 0

    @classmethod
    def from_errors(
        cls,
        errors: Sequence[ArrayLike] | NDArray[np.bool_],
        valid: ArrayLike | None = None,
        matched: ArrayLike | None = None,
        unit: ArrayLike | None = None,
    ) -> "Programs":
        """Reads programs whose token errors are known.

        Args:
            errors: For each program a boolean array with one entry a token, True where it is wrong; all tokens count,
                also those after the first error. An array of shape (m, n) when all are of one length.
            valid: Measured validity, shape (m,); None: a program is valid when no token is wrong and the context
                matches.
            matched: Whether the context matched, shape (m,); None: it always did.
            unit: Independent unit of each program, shape (m,); None: each program is one.

        Raises:
            ValueError: An empty program, entries other than 0 and 1, or shapes that differ.
        """
        if isinstance(errors, np.ndarray) and errors.ndim == 2:
            padded, length = _binary("errors", errors), np.full(len(errors), errors.shape[1])
        else:
            rows = [_binary("errors", row) for row in errors]
            length = np.array([row.size for row in rows], dtype=np.int64)
            padded = np.zeros((len(rows), int(length.max(initial=0))), dtype=bool)
            padded[np.arange(padded.shape[1]) < length[:, None]] = np.concatenate(rows) if rows else []
        if (length < 1).any():
            raise ValueError(f"program {int(np.argmin(length))} has no token")
        m = len(length)
        contexts = np.ones(m, dtype=bool) if matched is None else _column("matched", matched, m)
        flawless = ~padded.any(axis=1) & contexts
        return cls(
            flawless if valid is None else _column("valid", valid, m),
            length,
            contexts,
            _units(unit, m),
            _count(padded, length),
        )

    @classmethod
    def from_table(
        cls,
        valid: ArrayLike,
        length: ArrayLike,
        matched: ArrayLike | None = None,
        unit: ArrayLike | None = None,
    ) -> "Programs":
        """Reads programs of which only validity and length are known.

        Args:
            valid: Validity, 0 or 1, NaN where it is unknown; shape (m,).
            length: Number of tokens or lines, >= 1, NaN where it is unknown; shape (m,).
            matched: Whether the context matched, shape (m,); None: it always did.
            unit: Independent unit of each program, shape (m,); None: each program is one.

        Raises:
            ValueError: Values or shapes other than these.
        """
        v, n = np.asarray(valid, dtype=float), np.asarray(length, dtype=float)
        if v.ndim != 1 or n.shape != v.shape:
            raise ValueError(f"valid and length must have one shape (m,), they have {v.shape} and {n.shape}")
        known = ~np.isnan(v) & ~np.isnan(n)
        if ((n[known] < 1) | (n[known] % 1 != 0)).any():
            raise ValueError("length must hold whole numbers of at least 1")
        contexts = np.ones(len(v), dtype=bool) if matched is None else _column("matched", matched, len(v))
        return cls(
            _binary("valid", v[known]),
            n[known].astype(np.int64),
            contexts[known],
            _units(unit, len(v))[known],
            left_out=int((~known).sum()),
        )

    def of(self, kept: NDArray[np.bool_]) -> "Programs":
        """Returns some of the programs."""
        errors = None if self.errors is None else self.errors.of(kept)
        return Programs(self.valid[kept], self.length[kept], self.matched[kept], self.unit[kept], errors)


def read_table(
    valid: ArrayLike,
    length: ArrayLike,
    kind: ArrayLike,
    matched: ArrayLike | None = None,
    unit: ArrayLike | None = None,
) -> tuple[Programs, Programs]:
    """Splits one table of generated programs into full programs and deltas.

    Args:
        valid: As in `Programs.from_table`.
        length: As there.
        kind: "full" or "delta", shape (m,).
        matched: As there, of deltas; what full programs have is not read.
        unit: As there.

    Raises:
        ValueError: Another kind, or what `Programs.from_table` refuses.
    """
    kinds = np.asarray(kind, dtype=object)
    if kinds.shape != np.shape(valid):
        raise ValueError(f"kind must have shape {np.shape(valid)}, not {kinds.shape}")
    if unknown := sorted({str(k) for k in kinds} - {"full", "delta"}):
        raise ValueError(f'kind must be "full" or "delta", not {unknown[0]!r}')

    def part(name: str) -> Programs:
        chosen = kinds == name
        contexts = None if matched is None or name == "full" else np.asarray(matched)[chosen]
        units = None if unit is None else np.asarray(unit)[chosen]
        return Programs.from_table(np.asarray(valid)[chosen], np.asarray(length)[chosen], contexts, units)

    return part("full"), part("delta")


def _binary(name: str, values: ArrayLike) -> NDArray[np.bool_]:
    found = np.asarray(values)
    if found.dtype != bool and not np.isin(found, (0, 1)).all():
        raise ValueError(f"{name} must hold 0 and 1 (or False and True) only")
    return found.astype(bool)


def _column(name: str, values: ArrayLike, m: int) -> NDArray[np.bool_]:
    found = _binary(name, values)
    if found.shape != (m,):
        raise ValueError(f"{name} must have shape ({m},), not {found.shape}")
    return found


def _units(unit: ArrayLike | None, m: int) -> NDArray[np.object_]:
    if unit is None:
        labels = np.empty(m, dtype=object)
        # Objects that equal nothing else, so that programs of the two kinds are never taken for one unit.
        labels[:] = [object() for _ in range(m)]
        return labels
    labels = np.asarray(unit, dtype=object)
    if labels.shape != (m,):
        raise ValueError(f"unit must have shape ({m},), not {labels.shape}")
    return labels


def _count(wrong: NDArray[np.bool_], length: NDArray[np.int64]) -> Errors:
    position = np.arange(wrong.shape[1])
    inside = position[1:] < length[:, None]
    after_ok = ~wrong[:, :-1] & inside
    failed = after_ok & wrong[:, 1:]
    early = position[1:] < (length / 2)[:, None]
    first_wrong = np.where(wrong.any(axis=1), wrong.argmax(axis=1), wrong.shape[1])
    before = position[:-1] < first_wrong[:, None]

    def total(chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        return chosen.sum(axis=1, dtype=np.int64)

    return Errors(
        total(wrong),
        wrong[:, 0].astype(np.int64),
        total(after_ok),
        total(failed),
        total(after_ok & early),
        total(failed & early),
        total(after_ok & before),
        total(failed & before),
    )


@dataclass(frozen=True)
class Process:
    """A Markov process of token errors: π, λ, and μ (None: 1 - λ, so that errors are independent once π = λ)."""

    first_right: float
    right_after_right: float
    wrong_after_wrong: float | None = None

    @property
    def stuck(self) -> float:
        """μ."""
        return 1 - self.right_after_right if self.wrong_after_wrong is None else self.wrong_after_wrong


def simulate_errors(process: Process, programs: int, length: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draws token errors of programs from a Markov process; shape (programs, length), True where a token is wrong."""
    draws = rng.random((length, programs))
    wrong = np.empty((length, programs), dtype=bool)
    wrong[0] = draws[0] >= process.first_right
    for t in range(1, length):
        wrong[t] = draws[t] < np.where(wrong[t - 1], process.stuck, 1 - process.right_after_right)
    return wrong.T
