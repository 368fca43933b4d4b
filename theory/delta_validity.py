"""Claim 4, delta validity: whether a patch of a program is valid more often than a program written in full.

Symbols: n is a length in tokens (or lines, if errors are counted by line); p an error probability; π = P(first token
right), λ = P(token right | last one right), μ = P(token wrong | last one wrong); V a valid rate. Index f is for full
programs, d for deltas. R = V_d / V_f is the ratio of valid rates, observed and predicted, and D = log R_observed - log
R_predicted.

The models, each estimated on one half of the units and judged on the lengths and the validity of the other half:

- "independent": V = (1 - p)^n; deltas have the p of full programs.
- "markov", the published one: V = π λ^(n-1); deltas have the π and λ of full programs.
- "context-match", our extension: V_d = P(context matches) · π_d λ_d^(n_d - 1); deltas have a process of their own.

How the verdict is found. D's standard error is that of a sum over independent units (linearised, clustered by unit),
given the lengths of the judged half; the error of the estimated model is part of it. Intervals use Student's t. The
gain is V_d - V_f in the judged half, with its interval. Then, in this order:

- `vacuous`: an assumption does not hold. The numbers are given all the same.
- `refuted`: the whole interval of the gain is below 0; deltas lose.
- `direction` or `refuted`: the interval of D does not contain 0. It is `direction` when the whole interval of the gain
  is above 0, else `refuted`.
- `confirmed`: the interval of D contains 0 with a half-width of at most the margin, and that of the gain is above 0.
- `undecided`: otherwise.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats

from theory.claim import Assumption, Claim, Evidence, Level, Verdict
from theory.generated_programs import Process, Programs, simulate_errors

Model = Literal["independent", "markov", "context-match"]
MODELS: tuple[Model, ...] = ("independent", "markov", "context-match")

Interval = tuple[float, float]

MARGIN = 0.1
"""Smallest difference of log R that matters: the ratio of valid rates is wrong by a tenth."""

LEVEL = 0.05
"""Share of data sets in which the default test of D rejects a claim that is true."""

SMALLEST = 20
"""Programs of each kind below which nothing is judged: half of them estimate, half are judged."""

UNITS = 4
"""Units below which nothing is judged."""

SIGNIFICANT = 0.01
HAZARD_RATIO = 1.5
"""Ratio of error rates within a program that still counts as one rate; at V = .5 it moves V by up to .1."""
HARMLESS = 0.05
"""Share of programs whose validity may differ from "no token error, and the context matches"."""
MISMATCH = 0.01
"""Share of deltas whose context may fail to match in a model that knows no context."""


@dataclass(frozen=True)
class Comparison:
    """Full programs and deltas that are compared under a model."""

    full: Programs
    deltas: Programs
    model: Model


def shorter_deltas(sample: Comparison) -> Evidence:
    """Returns evidence on whether deltas are shorter than full programs: mean lengths."""
    full, deltas = sample.full.length, sample.deltas.length
    text = f"mean length {deltas.mean():.4g} of {len(deltas)} deltas, {full.mean():.4g} of {len(full)} full programs"
    return Evidence("shorter deltas", bool(deltas.mean() < full.mean()), text)


def constant_error_rate(sample: Comparison) -> Evidence:
    """Returns evidence on whether P(wrong | last right) is one number along a program: second half against first."""
    return _hazards(sample, "constant error rate", "second half over first half", "early_ok", "early_wrong")


def first_order_errors(sample: Comparison) -> Evidence:
    """Returns evidence on whether P(wrong | last right) forgets what came before: past a first error against before."""
    return _hazards(sample, "first-order errors", "after the first error over before", "before_ok", "before_wrong")


def _hazards(sample: Comparison, name: str, compared: str, exposed: str, failed: str) -> Evidence:
    # Only processes that predict something are checked: that of deltas does so in the context-match model alone.
    kinds = {"full": sample.full} | ({"delta": sample.deltas} if sample.model == "context-match" else {})
    texts, holds = [], True
    for kind, programs in kinds.items():
        e = programs.errors
        if e is None:
            texts.append(f"{kind}: token errors are not known, so it was not checked")
            continue
        here, wrong_here = int(getattr(e, exposed).sum()), int(getattr(e, failed).sum())
        there, wrong_there = int(e.ok.sum()) - here, int(e.ok_wrong.sum()) - wrong_here
        if min(wrong_here, wrong_there) < 5:
            texts.append(f"{kind}: {wrong_here} and {wrong_there} errors are too few to check it")
            continue
        z = math.log(wrong_there / there) - math.log(wrong_here / here)
        p = 2 * stats.norm.sf(abs(z) / math.sqrt(1 / wrong_here + 1 / wrong_there))
        holds &= not (abs(z) > math.log(HAZARD_RATIO) and p < SIGNIFICANT)
        texts.append(
            f"{kind}: ratio of error rates, {compared}, {math.exp(z):.3g} (bound {HAZARD_RATIO} either way), "
            f"p = {p:.2g}, n = {here + there} tokens"
        )
    return Evidence(name, holds, "; ".join(texts))


def errors_break_programs(sample: Comparison) -> Evidence:
    """Returns evidence on whether a program is valid exactly when no token is wrong and the context matches."""
    texts, holds = [], True
    for kind, programs in {"full": sample.full, "delta": sample.deltas}.items():
        if programs.errors is None:
            texts.append(f"{kind}: token errors are not known, so it was not checked")
            continue
        flawless = (programs.errors.tokens == 0) & programs.matched
        differ, m = int((programs.valid != flawless).sum()), len(flawless)
        p = stats.binomtest(differ, m, HARMLESS, alternative="greater").pvalue
        holds &= bool(p >= SIGNIFICANT)
        texts.append(f"{kind}: {differ} of {m} programs differ from it (bound {HARMLESS:.0%}, p = {p:.2g})")
    return Evidence("errors break programs", holds, "; ".join(texts))


def context_matches(sample: Comparison) -> Evidence:
    """Returns evidence on whether patches always match their context; the context-match model does not need that."""
    failed, m = int((~sample.deltas.matched).sum()), len(sample.deltas.matched)
    text = f"the context of {failed} of {m} deltas does not match"
    if sample.model == "context-match":
        return Evidence("context matches", True, text + "; the model allows for that")
    p = stats.binomtest(failed, m, MISMATCH, alternative="greater").pvalue
    return Evidence("context matches", bool(p >= SIGNIFICANT), f"{text} (bound {MISMATCH:.0%}, p = {p:.2g})")


CLAIM = Claim(
    name="delta-validity",
    title="Deltas are valid more often",
    statement=(
        "Delta-based generation achieves a strictly higher valid-generation rate than full-code generation under a "
        "first-order Markov token-error model."
    ),
    source="arXiv:2605.30103, result 4",
    assumptions=(
        Assumption("shorter deltas", "Deltas have fewer tokens than full programs.", shorter_deltas),
        Assumption(
            "constant error rate", "The chance of an error is the same all along a program.", constant_error_rate
        ),
        Assumption("first-order errors", "It depends on the last token's error only.", first_order_errors),
        Assumption(
            "errors break programs", "A program is valid exactly when no token is wrong.", errors_break_programs
        ),
        Assumption("context matches", "A delta's context always matches its parent.", context_matches),
    ),
    lemma=(
        "V_d > V_f if and only if P(context matches) · π_d λ_d^(n_d-1) > π_f λ_f^(n_f-1). With one process, λ < 1 and "
        "a context that always matches, that is n_d < n_f. With independent errors deltas lose when "
        "p_d > 1 - (1-p_f)^(n_f/n_d), or when the context fails with a probability above 1 - (1-p_f)^n_f / (1-p_d)^n_d."
    ),
)


@dataclass(frozen=True, kw_only=True)
class DeltaValidity(Verdict):
    """The verdict, and what it rests on; numbers that do not exist are None.

    `estimate` is the observed ratio R in the judged half.

    Attributes:
        model: The model that was judged.
        estimate_interval: Interval of the observed R.
        rates: Observed valid rates of the judged half, by kind.
        predicted_rates: Predicted valid rates for it, by kind.
        gain: V_d - V_f of the judged half.
        gain_interval: Its interval.
        difference: D, observed minus predicted log R.
        difference_interval: Its interval, on which the verdict on the size rests.
        error_rates: Error probability per token, by kind, of the half that estimates: errors over tokens; or fitted to
            the validity by (1-p)^n if only that is known.
        context: Share of deltas whose context matches, in the half that estimates.
        left_out: Programs left out because their validity or length is unknown.
    """

    model: Model
    estimate_interval: Interval | None = None
    rates: dict[str, float]
    predicted_rates: dict[str, float | None]
    gain: float | None = None
    gain_interval: Interval | None = None
    difference: float | None = None
    difference_interval: Interval | None = None
    error_rates: dict[str, float | None]
    context: float
    left_out: int


def valid_rate(
    length: ArrayLike,
    right_after_right: ArrayLike,
    first_right: ArrayLike | None = None,
    wrong_after_wrong: float | None = None,
    breaking: float = 1.0,
    context: ArrayLike = 1.0,
) -> NDArray[np.float64]:
    """Returns the valid rate of programs under the Markov model.

    V = P(context matches) · π λ^(n-1) when each error breaks the program. When an error breaks it with probability b
    only, V is P(context matches) times the sum of the row vector v M^(n-1), with v = (π, (1-π)(1-b)) and
    M = [[λ, (1-λ)(1-b)], [1-μ, μ(1-b)]]: the chance that no error of the chain breaks anything. Independent errors are
    π = λ = 1 - p, μ = p.

    Args:
        length: Lengths n >= 1.
        right_after_right: λ, in [0, 1].
        first_right: π, in [0, 1]; None: equal to λ.
        wrong_after_wrong: μ, in [0, 1]; None: 1 - λ, independent errors. It matters only if `breaking` < 1.
        breaking: b, in [0, 1].
        context: P(context matches), in [0, 1].

    Raises:
        ValueError: A length below 1 or a probability outside [0, 1].
    """
    n, lam = np.asarray(length), np.asarray(right_after_right, dtype=float)
    pi = lam if first_right is None else np.asarray(first_right, dtype=float)
    mu = 1 - lam if wrong_after_wrong is None else np.asarray(wrong_after_wrong, dtype=float)
    match = np.asarray(context, dtype=float)
    if (n < 1).any():
        raise ValueError(f"a length must be at least 1, one is {n.min()}")
    for name, value in (("λ", lam), ("π", pi), ("μ", mu), ("breaking", np.asarray(breaking)), ("context", match)):
        if not ((value >= 0) & (value <= 1)).all():
            raise ValueError(f"{name} must be a probability, it is {value}")
    if breaking == 1:
        return match * pi * lam ** (n - 1)
    n, lam, pi, mu = np.broadcast_arrays(n, lam, pi, mu)
    step = np.stack([np.stack([lam, (1 - lam) * (1 - breaking)], -1), np.stack([1 - mu, mu * (1 - breaking)], -1)], -2)
    start = np.stack([pi, (1 - pi) * (1 - breaking)], -1)
    flat = [
        (v @ np.linalg.matrix_power(m, int(k) - 1)).sum()
        for v, m, k in zip(start.reshape(-1, 2), step.reshape(-1, 2, 2), n.ravel(), strict=True)
    ]
    return match * np.reshape(flat, n.shape)


def predict(
    error: float, full_length: float, delta_length: float, delta_error: float | None = None, context: float = 1.0
) -> float:
    """Returns the ratio R = P(context matches) · (1-p_d)^n_d / (1-p_f)^n_f of valid rates with independent errors.

    Args:
        error: p_f, in [0, 1).
        full_length: n_f.
        delta_length: n_d.
        delta_error: p_d, in [0, 1]; None: equal to p_f.
        context: P(context matches).

    Raises:
        ValueError: A probability outside these ranges.
    """
    p_d = error if delta_error is None else delta_error
    if not (0 <= error < 1 and 0 <= p_d <= 1 and 0 <= context <= 1):
        raise ValueError(f"probabilities must be in [0, 1], p_f below 1: {error}, {p_d}, {context}")
    return context * (1 - p_d) ** delta_length / (1 - error) ** full_length


def implied_error(rate: float, length: float) -> float:
    """Returns the error probability 1 - V^(1/n) per token at which independent errors give a valid rate V.

    Raises:
        ValueError: A rate outside [0, 1].
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"a valid rate must be in [0, 1], it is {rate}")
    return 1 - rate ** (1 / length)


def losing_error(error: float, full_length: float, delta_length: float, context: float = 1.0) -> float:
    """Returns the p_d above which deltas lose: 1 - ((1-p_f)^n_f / P(context matches))^(1/n_d); < 0: always."""
    return 1 - ((1 - error) ** full_length / context) ** (1 / delta_length)


def losing_context_failure(
    error: float, full_length: float, delta_length: float, delta_error: float | None = None
) -> float:
    """Returns the probability of a context failure above which deltas lose: 1 - (1-p_f)^n_f / (1-p_d)^n_d."""
    p_d = error if delta_error is None else delta_error
    return 1 - (1 - error) ** full_length / (1 - p_d) ** delta_length


def lemma(
    full_length: int,
    delta_length: int,
    full: tuple[float, float],
    delta: tuple[float, float] | None = None,
    context: float = 1.0,
) -> bool:
    """Returns whether deltas are valid strictly more often: P(context matches) · π_d λ_d^(n_d-1) > π_f λ_f^(n_f-1).

    Args:
        full_length: n_f.
        delta_length: n_d.
        full: (π_f, λ_f).
        delta: (π_d, λ_d); None: those of full programs.
        context: P(context matches).
    """
    pi, lam = full if delta is None else delta
    return bool(valid_rate(delta_length, lam, pi, context=context) > valid_rate(full_length, full[1], full[0]))


@dataclass(frozen=True)
class _Fit:
    """log V = X θ, and each program's share in the error of θ, shape (m, parameters)."""

    theta: NDArray[np.float64]
    influence: NDArray[np.float64]


def _design(length: NDArray[np.int64], model: Model) -> NDArray[np.float64]:
    n = length.astype(float)
    return n[:, None] if model == "independent" else np.column_stack([np.ones(len(n)), n - 1])


def _fit(programs: Programs, model: Model) -> _Fit:
    e = programs.errors
    if e is None:
        return _fit_validity(programs.valid[programs.matched], programs.length[programs.matched], model, programs)
    if model == "independent":
        p = e.tokens.sum() / programs.length.sum()
        residual = (e.tokens - p * programs.length) / programs.length.sum()
        return _Fit(np.log([_positive(1 - p)]), -residual[:, None] / _positive(1 - p))
    pi, ok = 1 - e.first.mean(), max(e.ok.sum(), 1)
    lam = 1 - e.ok_wrong.sum() / ok
    first = -(e.first - (1 - pi)) / len(e.first) / _positive(pi)
    later = -(e.ok_wrong - (1 - lam) * e.ok) / ok / _positive(lam)
    return _Fit(np.log([_positive(pi), _positive(lam)]), np.column_stack([first, later]))


def _exp(value: float) -> float:
    """Returns exp, infinite beyond the largest number."""
    with np.errstate(over="ignore"):
        return float(np.exp(value))


def _positive(value: float) -> float:
    # A process in which every token was wrong predicts a valid rate of nearly 0; the logarithm of 0 would predict NaN.
    return max(value, 1e-12)


def _fit_validity(valid: NDArray[np.bool_], length: NDArray[np.int64], model: Model, programs: Programs) -> _Fit:
    """Fits log V = X θ <= 0 to validity alone by maximum likelihood (Bernoulli, logarithmic link)."""
    if model != "independent" and len(np.unique(length)) < 2:
        raise ValueError(
            "without token errors the Markov model needs programs of different lengths; these all have one, so use the "
            'model "independent" or give the errors of each token'
        )
    x = _design(length, model)
    scale = x.max(axis=0)

    def rates(theta: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.minimum(x @ theta, -1e-9)

    def loss(z: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        log_v = rates(z / scale)
        value = np.where(valid, log_v, np.log(-np.expm1(log_v))).sum()
        score = (valid - np.exp(log_v)) / -np.expm1(log_v)
        return -value / len(x), -(score @ x) / scale / len(x)

    start = np.full(x.shape[1], math.log((valid.sum() + 0.5) / (len(valid) + 1)) / x.shape[1])
    found = optimize.minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(-50.0, 0.0)] * len(scale))
    theta = found.x / scale
    v = np.exp(rates(theta))
    # Also of what is estimated to be 0: at its bound it is known no better than inside.
    information = (x * (v / (1 - v))[:, None]).T @ x
    score = x * ((valid - v) / (1 - v))[:, None]
    influence = np.zeros((len(programs.valid), len(theta)))
    influence[programs.matched] = score @ np.linalg.pinv(information, hermitian=True)
    return _Fit(theta, influence)


def _predicted(fit: _Fit, length: NDArray[np.int64], model: Model) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the predicted valid rate of each program, and the gradient of the log of their mean."""
    x = _design(length, model)
    v = np.exp(np.minimum(x @ fit.theta, 0.0))
    return v, (v / v.sum()) @ x


class _Contributions:
    """Adds up what each unit contributes to the error of an estimate."""

    def __init__(self, units: dict[object, int]) -> None:
        self.units = units
        self.sums = np.zeros(len(units))

    def add(self, programs: Programs, values: NDArray[np.float64]) -> None:
        np.add.at(self.sums, [self.units[u] for u in programs.unit], values)

    def error(self) -> float:
        """Returns the standard error: the units' contributions are independent."""
        c = np.count_nonzero(self.sums)
        return math.sqrt(c / (c - 1) * float(self.sums @ self.sums)) if c > 1 else 0.0


def test(
    full: Programs,
    deltas: Programs,
    rng: np.random.Generator,
    model: Model = "markov",
    margin: float = MARGIN,
    confidence: float = 0.95,
) -> DeltaValidity:
    """Tests the claim on generated programs, by the rule that the module's docstring states.

    Args:
        full: Programs written in full.
        deltas: Deltas, from the same language model, parents, sampling and validator; one attempt each, no retries.
        rng: Draws the half that estimates.
        model: The model that predicts.
        margin: Smallest difference of log R that matters.
        confidence: Coverage of every interval.

    Raises:
        ValueError: No program of a kind, or lengths from which the model cannot be estimated.
    """
    for kind, programs in (("full", full), ("delta", deltas)):
        if not len(programs.valid):
            raise ValueError(f"there is no program of the kind {kind!r}")
    sample = Comparison(full, deltas, model)
    evidence = tuple(assumption.check(sample) for assumption in CLAIM.assumptions)
    n = len(full.valid) + len(deltas.valid)
    units = {unit: i for i, unit in enumerate(dict.fromkeys([*full.unit, *deltas.unit]))}
    estimating = _halve(sample, units, rng)
    parts = []
    for programs in (full, deltas):
        chosen = np.array([estimating[units[u]] for u in programs.unit])
        parts += [programs.of(chosen), programs.of(~chosen)]
    full_e, full_j, delta_e, delta_j = parts
    found = DeltaValidity(
        level="undecided",
        estimate=None,
        predicted=None,
        interval=None,
        n=n,
        assumptions=evidence,
        needed_n=max(math.ceil(n * SMALLEST / min(len(full.valid), len(deltas.valid))), 2 * SMALLEST),
        explanation=(
            f"There are {len(full.valid)} full programs and {len(deltas.valid)} deltas; at least {SMALLEST} of each, "
            "in several units, are needed."
        ),
        model=model,
        rates={"full": float(full.valid.mean()), "delta": float(deltas.valid.mean())},
        predicted_rates={"full": None, "delta": None},
        error_rates={"full": _error_rate(full), "delta": _error_rate(deltas)},
        context=float(deltas.matched.mean()),
        left_out=full.left_out + deltas.left_out,
    )
    smallest = min(len(part.valid) for part in parts)
    if smallest < SMALLEST // 4 or min(len(full.valid), len(deltas.valid)) < SMALLEST or not delta_e.matched.any():
        return found
    if len(units) < UNITS:
        return replace(found, explanation=f"There are {len(units)} units; at least {UNITS} are needed.")
    fitted = (full_e, delta_e) if model == "context-match" else (full_e,)
    alike = any(half.errors is None and np.ptp(half.length[half.matched]) == 0 for half in fitted)
    if model != "independent" and alike and not any(np.ptp(kind.length) == 0 for kind in (full, deltas)):
        return replace(found, explanation="The programs of the half that estimates have one length: too few others.")

    own = model == "context-match"
    fit_full = _fit(full_e, model)
    fit_delta = _fit(delta_e, model) if own else fit_full
    context = float(delta_e.matched.mean()) if own else 1.0
    v_full, slope_full = _predicted(fit_full, full_j.length, model)
    v_delta, slope_delta = _predicted(fit_delta, delta_j.length, model)
    v_delta = context * v_delta
    log_predicted = math.log(v_delta.mean()) - math.log(v_full.mean())

    size = _Contributions(units)
    if own:
        size.add(full_e, fit_full.influence @ slope_full)
        matching = (delta_e.matched - context) / context / len(delta_e.matched)
        size.add(delta_e, -(fit_delta.influence @ slope_delta) - matching)
    else:
        size.add(full_e, fit_full.influence @ (slope_full - slope_delta))
    gains, ratio = _Contributions(units), _Contributions(units)
    observed = {}
    judged = ((v_full, full_j), (v_delta, delta_j))
    for (v, part), sign in zip(judged, (-1, 1), strict=True):
        rate, m = float(part.valid.mean()), len(part.valid)
        observed["delta" if sign > 0 else "full"] = rate
        # What is observed varies about its expectation at the program's length. Without any valid program the
        # prediction says how much.
        if rate > 0:
            size.add(part, sign * (part.valid - v * rate / v.mean()) / rate / m)
            ratio.add(part, sign * (part.valid - rate) / rate / m)
        gains.add(part, sign * (part.valid - rate) / m)
    quantile = float(stats.t.ppf((1 + confidence) / 2, len(units) / 2 - 1))
    gain, half_gain = observed["delta"] - observed["full"], quantile * gains.error()
    zero = min(observed.values()) == 0
    if zero:
        both = ((1 - v.mean()) / v.sum() for v in (v_full, v_delta))
        difference, half = math.nan, quantile * math.sqrt(sum(both))
    else:
        difference = math.log(observed["delta"] / observed["full"]) - log_predicted
        half = quantile * size.error()

    failed = [e.name for e in evidence if not e.holds]
    level: Level
    if failed:
        level = "vacuous"
    elif gain + half_gain < 0:
        level = "refuted"
    elif zero:
        # None at all is evidence against the size only where it is too few for what was predicted.
        none = [np.log1p(-np.minimum(v, 1 - 1e-12)).sum() for v, part in judged if not part.valid.any()]
        level = "direction" if gain - half_gain > 0 and min(none) < math.log((1 - confidence) / 2) else "undecided"
    elif abs(difference) > half:
        level = "direction" if gain - half_gain > 0 else "refuted"
    else:
        level = "confirmed" if half <= margin and gain - half_gain > 0 else "undecided"
    predicted_gain = float(v_delta.mean() - v_full.mean())
    spread = _exp(quantile * ratio.error())
    estimate = None if zero else observed["delta"] / observed["full"]
    short = max(half / margin, half_gain / max(predicted_gain, 1e-3))
    found = replace(
        found,
        level=level,
        estimate=estimate,
        estimate_interval=None if estimate is None else (estimate / spread, estimate * spread),
        predicted=_exp(log_predicted),
        interval=(_exp(log_predicted - half), _exp(log_predicted + half)),
        needed_n=math.ceil(n * max(short, 1.1) ** 2) if level == "undecided" else None,
        rates=observed,
        predicted_rates={"full": float(v_full.mean()), "delta": float(v_delta.mean())},
        gain=gain,
        gain_interval=(gain - half_gain, gain + half_gain),
        difference=None if zero else difference,
        difference_interval=None if zero else (difference - half, difference + half),
        error_rates={"full": _error_rate(full_e), "delta": _error_rate(delta_e)},
        context=float(delta_e.matched.mean()),
    )
    return replace(found, explanation=_explanation(found, failed))


def _halve(sample: Comparison, units: dict[object, int], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Returns which units estimate: half of those with full programs only, with deltas only, and with both."""
    kinds = np.zeros(len(units), dtype=int)
    for bit, programs in ((1, sample.full), (2, sample.deltas)):
        kinds[[units[u] for u in programs.unit]] |= bit
    estimating = np.zeros(len(units), dtype=bool)
    for kind in (1, 2, 3):
        members = np.flatnonzero(kinds == kind)
        estimating[rng.choice(members, len(members) // 2, replace=False)] = True
    return estimating


def _error_rate(programs: Programs) -> float | None:
    if programs.errors is not None:
        return float(programs.errors.tokens.sum() / programs.length.sum()) if len(programs.length) else None
    if not programs.matched.any():
        return None
    fit = _fit_validity(programs.valid[programs.matched], programs.length[programs.matched], "independent", programs)
    return float(-np.expm1(fit.theta[0]))


def _explanation(found: DeltaValidity, failed: list[str]) -> str:
    assert found.gain_interval is not None
    assert found.predicted is not None
    low, high = found.gain_interval
    text = (
        f"Deltas are valid in {found.rates['delta']:.3f} of cases and full programs in {found.rates['full']:.3f}, "
        f"a gain of {found.gain:+.3f} [{low:+.3f}, {high:+.3f}]"
    )
    if found.interval is not None and found.estimate is not None:
        inside = found.interval[0] <= found.estimate <= found.interval[1]
        text += (
            f"; their ratio is {found.estimate:.3f}, {'inside' if inside else 'outside'} the interval "
            f"[{found.interval[0]:.3f}, {found.interval[1]:.3f}] about the {found.predicted:.3f} that the "
            f"{found.model} model predicts"
        )
    full, delta = found.error_rates["full"], found.error_rates["delta"]
    if full and delta is not None:
        text += f"; errors per token are {delta / full:.2f} times as likely in deltas"
    text += "."
    if failed:
        text = f"Not tested, since it does not hold: {', '.join(failed)}. {text}"
    if found.level == "undecided":
        text += f" Too few programs: about {found.needed_n} would decide."
    return text


def simulate(
    rng: np.random.Generator,
    programs: int = 200,
    full_length: int = 200,
    delta_length: int = 40,
    full: Process = Process(0.995, 0.995),
    delta: Process | None = None,
    context: float = 1.0,
) -> tuple[Programs, Programs]:
    """Draws full programs and deltas whose errors are those of a Markov process.

    Args:
        rng: Source of all randomness.
        programs: Programs of each kind.
        full_length: n_f.
        delta_length: n_d.
        full: Process of full programs.
        delta: Process of deltas; None: that of full programs.
        context: P(context matches).
    """
    return (
        Programs.from_errors(simulate_errors(full, programs, full_length, rng)),
        Programs.from_errors(
            simulate_errors(delta or full, programs, delta_length, rng), matched=rng.random(programs) < context
        ),
    )


def design_error(
    programs: int, full_length: int, delta_length: int, full: Process, delta: Process | None = None
) -> float:
    """Returns the standard error of D that a sample of a simulated world has under the model "markov".

    The delta method: var log V̂ = (1-V) / (V m) of each kind's judged half of m programs; and (n_d - n_f)² (1-λ) / (λ
    N) of the predicted ratio λ^(n_d - n_f), N being the expected number of tokens after a right one in the half of the
    full programs that estimates.

    Args:
        programs: Programs of each kind; half of them estimate.
        full_length: n_f.
        delta_length: n_d.
        full: Process of full programs.
        delta: Process of deltas; None: that of full programs.
    """
    other = delta or full
    half = programs / 2
    v_full = float(valid_rate(full_length, full.right_after_right, full.first_right))
    v_delta = float(valid_rate(delta_length, other.right_after_right, other.first_right))
    right, total = full.first_right, 0.0
    for _ in range(full_length - 1):
        total += right
        right = right * full.right_after_right + (1 - right) * (1 - full.stuck)
    lam = full.right_after_right
    estimated = (delta_length - full_length) ** 2 * (1 - lam) / (lam * half * total)
    return math.sqrt((1 - v_full) / (v_full * half) + (1 - v_delta) / (v_delta * half) + estimated)


def power(difference: float, error: float, confidence: float = 0.95) -> float:
    """Returns the probability that a two-sided test rejects D = 0 when D has this expectation and standard error."""
    z = stats.norm.ppf((1 + confidence) / 2)
    return float(stats.norm.cdf(difference / error - z) + stats.norm.cdf(-difference / error - z))


def rejections(
    sets: int,
    rng: np.random.Generator,
    programs: int,
    lengths: tuple[int, int],
    full: Process,
    delta: Process | None = None,
) -> list[bool]:
    """Returns for each of a number of data sets drawn by `simulate` whether the interval of D leaves out 0."""
    found = (test(*simulate(rng, programs, *lengths, full, delta), rng).difference_interval for _ in range(sets))
    return [interval is None or not interval[0] <= 0 <= interval[1] for interval in found]


def calibration(sets: int, rng: np.random.Generator, programs: int = 2000) -> list[tuple[str, float, list[bool]]]:
    """Counts rejections of a 5% test where the claim is true, and where it is false by the smallest ratio that matters.

    Full programs have 60 tokens and deltas 12, with p = 1/60, so that V_f = .36.

    Args:
        sets: Simulated data sets of each.
        rng: Source of all randomness.
        programs: Programs of each kind in a data set.

    Returns:
        For each of the two its name, the predicted share of rejections, and for each data set whether it was rejected.
    """
    n_f, n_d, full = 60, 12, Process(1 - 1 / 60, 1 - 1 / 60)
    worse = Process(full.first_right, full.right_after_right * math.exp(-MARGIN / (n_d - 1)))
    error = design_error(programs, n_f, n_d, full, worse)
    text = f"{programs} programs of each kind"
    return [
        (f"rejections at 5%, claim true, {text}", LEVEL, rejections(sets, rng, programs, (n_f, n_d), full)),
        (
            f"rejections at 5%, V_d a tenth lower than predicted, {text}",
            power(MARGIN, error),
            rejections(sets, rng, programs, (n_f, n_d), full, worse),
        ),
    ]
