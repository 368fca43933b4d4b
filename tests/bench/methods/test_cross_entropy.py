from itertools import chain

import numpy as np
import pytest

from bench.effects import Evaluate, Sampling, Tuning
from bench.llm.prompts import render
from bench.methods import methods
from surrogates.errors import InputError

CORPORA = ["current_elites", "accumulated", "accumulated+prior", "static_prior", "random"]
PLAIN = {"novelty": "off", "threshold": 0.85, "candidates": 20, "prior": 7}
"""Nothing between the candidates and the corpus; most cells of the table reach the threshold, but not all."""


def best(results, threshold=85.0):
    return [text for text, score in results if score >= threshold]


def cell(space, n):
    """Returns one of the cells, each n another."""
    return space.format(tuple(space.enumerate()[n * 4999 % 15625].tolist()))


def test_a_cycle_asks_evaluates_and_tunes(play_tuned, analog):
    played = play_tuned("cross_entropy", 9, candidates=13)
    assert played.kinds == ["Ask", "Evaluate", "Tune"] * 3
    assert [len(ask.prompts) for ask in played.asks] == [13] * 3
    assert [len(results) for results in played.results] == [13] * 3
    assert all(ask.constraint == analog.space.grammar for ask in played.asks)
    prompts = {render(p.template, p.values)[0] for ask in played.asks for p in ask.prompts}
    assert prompts == {render(t.prompt.template, t.prompt.values)[0] for t in played.tunes}
    assert "clean" in prompts.pop()


def test_the_defaults_are_those_of_the_paper(play_tuned):
    played = play_tuned("cross_entropy", 3)
    ask, evaluate, tune = played.effects
    assert len(ask.prompts) == len(evaluate.proposals) == 50
    assert ask.sampling == Sampling(temperature=0.35, top_p=0.9, top_k=50, max_tokens=1024)
    assert tune.tuning.rank == 32
    assert tune.tuning.alpha == 32
    assert tune.tuning.dropout == 0.05
    assert tune.tuning.learning_rate == 1e-5
    assert tune.tuning.epochs == 3
    assert tune.tuning.likelihood == "free"
    assert (tune.weights, tune.held_out, tune.keep, tune.anew) == (None, [], 0, False)
    parameters = methods.get("cross_entropy").parameters
    expected = {"threshold": 0.4, "novelty": "minhash", "permutations": 256, "shingle": 10, "similarity": 0.9}
    assert {name: parameters[name] for name in expected} == expected


def test_the_corpus_is_the_elites_of_the_cycle(play_tuned):
    played = play_tuned("cross_entropy", 12, corpus="current_elites", **PLAIN)
    assert [tune.texts for tune in played.tunes] == [best(results) for results in played.results]
    assert all(0 < len(tune.texts) < 20 for tune in played.tunes)


def test_the_corpus_is_all_elites_so_far(play_tuned):
    played = play_tuned("cross_entropy", 12, corpus="accumulated", **PLAIN)
    elites = [best(results) for results in played.results]
    assert [tune.texts for tune in played.tunes] == [list(chain(*elites[: n + 1])) for n in range(4)]


def test_the_prior_is_drawn_once_and_joins_the_elites(play_tuned, analog):
    (prior, *others) = [t.texts for t in play_tuned("cross_entropy", 12, corpus="static_prior", **PLAIN).tunes]
    assert others == [prior] * 3
    assert len(prior) == 7
    assert [analog.space.format(analog.space.parse(text)) for text in prior] == prior
    played = play_tuned("cross_entropy", 12, corpus="accumulated+prior", **PLAIN)
    elites = [best(results) for results in played.results]
    assert [sorted(t.texts) for t in played.tunes] == [sorted(chain(prior, *elites[: n + 1])) for n in range(4)]


def test_random_corpora_are_as_large_as_the_elites_and_new_each_time(play_tuned):
    played = play_tuned("cross_entropy", 12, corpus="random", **PLAIN)
    assert [len(tune.texts) for tune in played.tunes] == [len(best(results)) for results in played.results]
    drawn = [text for tune in played.tunes for text in tune.texts]
    assert len(set(drawn)) > 0.9 * len(drawn)
    assert not set(drawn) & {text for results in played.results for text, _ in results}


def test_without_a_corpus_nothing_is_tuned(play_tuned):
    assert play_tuned("cross_entropy", 12, corpus="none").kinds == ["Ask", "Evaluate"] * 6


@pytest.mark.parametrize(("name", "task", "unit"), [("analog", "clean", 100), ("graph", "cora", 1)])
def test_a_fixed_threshold_is_a_share_whatever_the_unit(play_tuned, request, name, task, unit):
    benchmark = request.getfixturevalue(name)
    archs = [benchmark.space.format(tuple(a)) for a in benchmark.space.enumerate()[:4].tolist()]
    scores = dict(zip(archs, (0.39 * unit, 0.4 * unit, 0.41 * unit, np.nan), strict=True))
    played = play_tuned(
        "cross_entropy", 3, archs.__getitem__, scores.__getitem__, benchmark, task,
        candidates=4, corpus="current_elites", novelty="off", weights="quality",
    )  # fmt: skip
    assert played.tunes[0].texts == archs[1:3]
    assert played.tunes[0].weights == pytest.approx([0.4, 0.41])


def kth_best(results, share):
    scores = sorted((score for _, score in results if not np.isnan(score)), reverse=True)
    return scores[round(share * len(scores)) - 1]


def test_the_threshold_of_the_first_share_stays(play_tuned):
    played = play_tuned("cross_entropy", 12, corpus="current_elites", elite="first_share", share=0.3, **PLAIN)
    threshold = kth_best(played.results[0], 0.3)
    assert len(best(played.results[0], threshold)) == 6
    assert [tune.texts for tune in played.tunes] == [best(results, threshold) for results in played.results]
    assert len({len(tune.texts) for tune in played.tunes}) > 1


def test_the_share_of_each_cycle_is_as_large_in_each(play_tuned):
    played = play_tuned("cross_entropy", 12, corpus="current_elites", elite="share", share=0.3, **PLAIN)
    for results, tune in zip(played.results, played.tunes, strict=True):
        assert tune.texts == best(results, kth_best(results, 0.3))
        assert len(tune.texts) == 6


def test_failed_candidates_are_no_elites_and_do_not_count_in_the_share(play_tuned, analog):
    def judge(text):
        arch = analog.space.parse(text)
        return np.nan if arch[0] in (0, 2, 3) else 50.0 + analog.space.index([arch])[0] / 1000

    played = play_tuned(
        "cross_entropy", 3, judge=judge, corpus="current_elites", elite="share", share=0.25,
        **PLAIN | {"candidates": 40},
    )  # fmt: skip
    scored = [score for _, score in played.results[0] if not np.isnan(score)]
    assert 10 < len(scored) < 40
    assert len(played.tunes[0].texts) == round(0.25 * len(scored))
    assert played.tunes[0].texts == best(played.results[0], kth_best(played.results[0], 0.25))


def test_until_a_candidate_has_a_score_there_is_no_threshold_and_no_elite(play_tuned):
    scores = iter([np.nan] * 20 + list(range(20)))
    played = play_tuned(
        "cross_entropy", 6, judge=lambda _: float(next(scores)), corpus="current_elites", elite="first_share", **PLAIN
    )
    assert [len(tune.texts) for tune in played.tunes] == [0, 5]


def test_weights_are_the_quality_and_one_for_the_prior(play_tuned):
    played = play_tuned("cross_entropy", 6, corpus="accumulated+prior", weights="quality", **PLAIN)
    quality = {text: score / 100 for results in played.results for text, score in results}
    for tune in played.tunes:
        ones = [text for text, weight in zip(tune.texts, tune.weights, strict=True) if weight == 1]
        assert len(ones) == 7
        expected = sorted([quality[text] for text in tune.texts if text not in ones] + [1] * 7)
        assert sorted(tune.weights) == pytest.approx(expected)


@pytest.mark.parametrize(("share", "kept"), [(0.0, 20), (0.2, 16), (0.5, 10), (0.99, 1)])
def test_a_share_of_the_elites_is_held_out(play_tuned, share, kept):
    played = play_tuned("cross_entropy", 9, judge=lambda _: 90.0, corpus="current_elites", held_out=share, **PLAIN)
    for results, tune in zip(played.results, played.tunes, strict=True):
        assert len(tune.texts) == kept
        # Each candidate is in one of the two, and in no other place.
        assert [*tune.texts, *tune.held_out] == [text for text, _ in results]


def test_what_is_held_out_is_never_tuned_on_later(play_tuned, analog):
    played = play_tuned(
        "cross_entropy", 12, lambda n: cell(analog.space, n), corpus="accumulated", held_out=0.3, **PLAIN
    )
    held_out = {text for tune in played.tunes for text in tune.held_out}
    assert held_out
    assert not held_out & set(played.tunes[-1].texts)


@pytest.mark.parametrize("novelty", ["off", "minhash", "jaccard", "canonical"])
def test_filters_remove_what_was_an_elite_before(play_tuned, analog, novelty):
    # Cells far from each other, each of them twice in a cycle, and all again in the next.
    cells = [analog.space.format((op,) * 6) for op in range(1, 5)]
    played = play_tuned(
        "cross_entropy", 6, lambda n: cells[n // 2 % 4], lambda _: 90.0, corpus="current_elites",
        **PLAIN | {"novelty": novelty, "candidates": 8},
    )  # fmt: skip
    twice = [text for text in cells for _ in range(2)]
    assert [tune.texts for tune in played.tunes] == ([twice, twice] if novelty == "off" else [cells, []])


@pytest.mark.parametrize(("novelty", "admitted"), [("minhash", 3), ("jaccard", 3), ("canonical", 2)])
def test_only_canonical_graphs_tell_that_two_texts_mean_one_function(play_tuned, analog, novelty, admitted):
    # A 3x3 convolution by way of node 2, with and without operations that read node 1, which is zero; and a pooling.
    archs = [(0, 3, 0, 0, 0, 1), (0, 3, 4, 0, 3, 1), (0, 4, 0, 0, 0, 1)]
    assert analog.space.canonical(archs[0]) == analog.space.canonical(archs[1]) != analog.space.canonical(archs[2])
    texts = [analog.space.format(arch) for arch in archs]
    played = play_tuned(
        "cross_entropy", 3, texts.__getitem__, lambda _: 90.0, corpus="current_elites",
        **PLAIN | {"novelty": novelty, "candidates": 3},
    )  # fmt: skip
    assert len(played.tunes[0].texts) == admitted


def test_what_failed_is_asked_for_again_with_its_error(play_tuned, analog):
    def judge(text):
        return np.nan if text in broken else 90.0

    broken = {cell(analog.space, n) for n in (1, 3, 5, 10, 13)}  # 10 is asked for in place of 1, 13 in place of 10
    played = play_tuned(
        "cross_entropy", 7, lambda n: cell(analog.space, n), judge, corpus="current_elites", retries=2,
        **PLAIN | {"candidates": 10},
    )  # fmt: skip
    assert played.kinds == ["Ask", "Evaluate"] * 3 + ["Tune"]
    assert [len(ask.prompts) for ask in played.asks] == [10, 3, 1]
    again = [render(p.template, p.values)[0] for ask in played.asks[1:] for p in ask.prompts]
    for n, prompt in zip((1, 3, 5, 10), again, strict=True):
        assert cell(analog.space, n) in prompt
        assert "diverged" in prompt
    first = [render(p.template, p.values)[0] for p in played.asks[0].prompts]
    assert not any("diverged" in prompt for prompt in first)
    # The last attempt failed, too: it counts as a candidate and is no elite.
    assert len(played.tunes[0].texts) == 9
    assert not broken & set(played.tunes[0].texts)


def test_without_retries_nothing_is_asked_for_again(play_tuned):
    assert play_tuned("cross_entropy", 6, judge=lambda _: np.nan).kinds == ["Ask", "Evaluate", "Tune"] * 2


def test_retries_end_when_nothing_failed(play_tuned):
    assert play_tuned("cross_entropy", 6, retries=5).kinds == ["Ask", "Evaluate", "Tune"] * 2


@pytest.mark.parametrize("warm_start", [True, False])
def test_tuning_starts_anew_without_a_warm_start(play_tuned, warm_start):
    assert {tune.anew for tune in play_tuned("cross_entropy", 9, warm_start=warm_start).tunes} == {not warm_start}


def test_parameters_reach_their_effects(play_tuned):
    tuning = Tuning(4, 8.0, 0.1, "q_proj,v_proj", 1e-3, 7, 5, 11, "constrained", "bfloat16")
    given = {name: getattr(tuning, name) for name in Tuning.__dataclass_fields__}
    sampling = {"temperature": 0.7, "top_k": 3, "top_p": 0.6, "max_tokens": 33}
    played = play_tuned("cross_entropy", 6, smoothing=0.4, **given | sampling)
    assert {(tune.tuning, tune.keep) for tune in played.tunes} == {(tuning, 0.4)}
    assert {ask.sampling for ask in played.asks} == {Sampling(0.7, 0.6, 3, 33, "bfloat16")}


@pytest.mark.parametrize("name", ["cross_entropy", "exact_ce", "eda"])
@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("corpus", "x"), ("elite", "best"), ("novelty", "on"), ("weights", "equal"), ("likelihood", "masked"),
        ("precision", "float16"), ("share", 0), ("share", 1.1), ("similarity", 0.0), ("held_out", 1.0),
        ("held_out", -0.1), ("smoothing", 1.0), ("dropout", 1.0), ("candidates", 0), ("prior", -1), ("retries", -1),
        ("temperature", -1), ("top_p", 0), ("top_k", -1), ("max_tokens", 0), ("rank", 0), ("alpha", 0),
        ("learning_rate", 0), ("epochs", 0), ("batch", -1), ("steps", -1), ("warm_start", 1), ("threshold", "high"),
        ("shingle", 2.5), ("modules", 3),
    ],
)  # fmt: skip
def test_values_that_mean_nothing_are_refused(name, parameter, value):
    with pytest.raises(InputError, match=rf"study\.toml: {name}\.{parameter} .*it is {value!r}"):
        methods.get(name).complete({parameter: value}, "study.toml")


def test_every_value_that_is_documented_is_taken(play_tuned):
    for corpus in [*CORPORA, "none"]:
        assert methods.get("cross_entropy").complete({"corpus": corpus})["corpus"] == corpus
    ends: dict[str, object] = {
        "share": 1,
        "held_out": 0,
        "smoothing": 0,
        "temperature": 0,
        "top_p": 1,
        "top_k": 0,
        "batch": 0,
        "steps": 0,
    }
    assert methods.get("cross_entropy").complete(ends).items() >= ends.items()
    played = play_tuned("cross_entropy", 3, corpus="current_elites", elite="share", **PLAIN | ends)
    assert isinstance(played.effects[1], Evaluate)
    assert len(played.tunes[0].texts) == 20
