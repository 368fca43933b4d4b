"""The controls of LAPT: counted operations and random parts."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from bench.effects import Note
from bench.methods.operation_counts import Counts
from surrogates.benchmarks import benchmarks
from surrogates.subspace import parse_options

CELLS = benchmarks.get("nas-bench-201")
ARCHS = CELLS.space.enumerate()
SOURCE = "ImageNet16-120"


@pytest.fixture
def drive(play_transfer):
    """Drives a method by hand; returns the rows of what it evaluates, and the parts it searches in."""

    def rows_and_parts(name, task, seed, evaluations, **given):
        played = play_transfer(name, evaluations, task=task, seed=seed, **given)
        notes = [e.text for e in played.effects if isinstance(e, Note) and e.name == "subspace"]
        rows = CELLS.space.index(played.proposed)[:evaluations].tolist()
        return rows, [parse_options(CELLS.space, text) for text in notes]

    return rows_and_parts


def counted():
    """The two most frequent operations of each edge among the 50 best of the source task, in a few lines of numpy."""
    best = ARCHS[np.argsort(-CELLS.scores(SOURCE, "validation"), kind="stable")[:50]]
    return [np.sort(np.argsort(-np.bincount(column, minlength=5), kind="stable")[:2]) for column in best.T]


def evolve(scores, allowed, rng, evaluations, population=5, tournament=2):
    """Aging evolution where each edge has its allowed operations, in a few lines of numpy; returns rows of `ARCHS`."""
    place = 5 ** np.arange(5, -1, -1)
    edges = [e for e in range(6) if len(allowed[e]) > 1]
    alive = [np.array([rng.choice(a) for a in allowed]) for _ in range(population)]
    rows = [int(arch @ place) for arch in alive]
    while len(rows) < evaluations:
        drawn = [alive[rng.integers(population)] for _ in range(tournament)]
        child = max(drawn, key=lambda arch: scores[arch @ place]).copy()
        # Every one-change neighbour is equally likely.
        moves = [(e, op) for e in edges for op in allowed[e] if op != child[e]]
        edge, op = moves[rng.integers(len(moves))]
        child[edge] = op
        alive = [*alive[1:], child]
        rows.append(int(child @ place))
    return rows


def first_top(rows, task, limit):
    hits = np.flatnonzero(CELLS.scores(task, "validation")[rows] >= CELLS.threshold(task, "validation"))
    return hits[0] + 1 if hits.size else limit


def test_the_part_is_that_of_the_counts(drive):
    _, parts = drive("operation_counts", "cifar10", 0, 5, source=SOURCE)
    assert parts == [[tuple(options.tolist()) for options in counted()]]


@pytest.mark.parametrize("task", ["cifar10", "cifar100"])
@pytest.mark.parametrize("whole", [False, True], ids=["operation_counts", "regularized_evolution"])
def test_search_agrees_with_an_independent_one(task, whole, drive):
    scores, limit, seeds = CELLS.scores(task, "validation"), 60, 300
    settings = {"population": 5, "tournament": 2}
    given = settings if whole else {"source": SOURCE, "adaptation": False, **settings}
    name, allowed = ("regularized_evolution", [np.arange(5)] * 6) if whole else ("operation_counts", counted())
    ours = [drive(name, task, seed, limit, **given)[0] for seed in range(seeds)]
    theirs = [evolve(scores, allowed, np.random.default_rng([seed, 2]), limit) for seed in range(seeds)]
    for statistic in (lambda rows: first_top(rows, task, limit), lambda rows: scores[rows].max()):
        a, b = ([float(statistic(rows)) for rows in each] for each in (ours, theirs))
        margin = 4 * np.hypot(np.std(a), np.std(b)) / np.sqrt(seeds)
        assert np.mean(a) == pytest.approx(np.mean(b), abs=margin)
        assert mannwhitneyu(a, b).pvalue > 1e-3


def test_operations_are_counted_again_after_success_and_one_more_is_allowed_after_failure(drive):
    for seed in range(8):
        rows, parts = drive("operation_counts", "cifar10", seed, 20, source=SOURCE)
        scores = CELLS.scores("cifar10", "validation")[rows]
        blocks, base = [slice(0, 10), slice(10, 15), slice(15, 20)], -np.inf
        previous = counted()
        for block, part in zip(blocks[:-1], parts[1:], strict=True):
            found, best = np.array(rows)[block], scores[block].max()
            if best >= base:
                different = list(dict.fromkeys(found[np.argsort(-scores[block], kind="stable")].tolist()))
                top = ARCHS[different[:5]]
                for column, options in zip(top.T, part, strict=True):
                    counts = np.bincount(column, minlength=5)
                    assert set(options) <= set(column.tolist())
                    assert counts[list(options)].sum() == np.sort(counts)[-2:].sum()
                base = best
            else:
                grown = [len(new) - len(old) for new, old in zip(part, previous, strict=True)]
                assert grown == [1] * 6
            previous = part


def test_of_operations_that_were_not_found_the_one_that_was_learned_is_explored_first():
    """Learned: operation 3 thrice, 2 twice, 1 once, 0 and 4 never; found for the new task: 4 alone."""
    counts = Counts(CELLS.space, 2)
    list(counts.learn([(op,) * 6 for op in (3, 3, 3, 2, 2, 1)]))
    list(counts.update([(4,) * 6]))
    wanted = [(4,), (3, 4), (2, 3, 4), (1, 2, 3, 4), (0, 1, 2, 3, 4)]
    for allowed in wanted:
        translating = counts.translate()
        with pytest.raises(StopIteration) as ended:
            next(translating)
        assert ended.value.value == (allowed,) * 6
        list(counts.explore())


def test_a_random_part_has_as_many_options_of_each_decision_and_stays(drive):
    seen = set()
    for seed in range(20):
        rows, parts = drive("random_subspace", "cifar10", seed, 30)
        (part,) = parts
        assert [len(options) for options in part] == [2] * 6
        for column, options in zip(ARCHS[rows].T, part, strict=True):
            assert set(column.tolist()) <= set(options)
        seen.add(tuple(part))
    assert len(seen) == 20
