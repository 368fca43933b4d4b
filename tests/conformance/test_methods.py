"""What every method keeps to, those of other packages included."""

import inspect
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.effects import Archive, Ask, Completion, Evaluate, Evaluation, Note, Tune, Tuned
from bench.llm.prompts import render
from bench.method import Problem
from bench.methods import methods
from surrogates.benchmarks import benchmarks

NAMES = methods.names()
PROBLEMS = [
    Problem(b.space, task, b.name)
    for b in map(benchmarks.get, benchmarks.names())
    for task in list(b.tasks.values())[:1]
]


def score(problem, arch):
    benchmark = benchmarks.get(problem.benchmark)
    # What is computed from networks takes too long here, and a method cannot tell.
    return float(sum(arch) if benchmark.kind == "proxy" else benchmark.query([arch], problem.task.name).validation[0])


@cache
def play(method, problem, seed, steps=40, answer=None, break_every=0):
    """Drives a method by hand; texts are answered by `answer`. Returns the effects.

    Methods that fit models with other libraries are left after fewer evaluations: each fit takes a second.
    """
    search = method.start(problem, np.random.default_rng(seed), method.complete({}))
    speaker = np.random.default_rng(seed + 1)
    effects, reply, count = [], None, 0
    try:
        for _ in range(steps):
            if method.requires and count >= 15:
                break
            effect = next(search) if reply is None else search.send(reply)
            effects.append(effect)
            if isinstance(effect, Ask):
                texts = [answer or problem.space.format(problem.space.sample(speaker)) for _ in effect.prompts]
                reply = [Completion(text, 100, 20) for text in texts]
                continue
            if isinstance(effect, Tune):
                assert method.tunes
                reply = Tuned((1.0,), ())
                continue
            assert isinstance(effect, Evaluate | Note | Archive)
            reply = []
            if not isinstance(effect, Evaluate):
                continue
            for proposal in effect.proposals:
                count += 1
                try:
                    arch = problem.space.parse(proposal) if isinstance(proposal, str) else proposal
                except ValueError as error:
                    reply.append(Evaluation(None, np.nan, np.nan, str(error)))
                    continue
                if break_every and count % break_every == 0:
                    reply.append(Evaluation(arch, np.nan, np.nan, "diverged"))
                else:
                    reply.append(Evaluation(arch, score(problem, arch), np.nan))
    except StopIteration:
        pytest.fail(f"it ended by itself after {count} evaluations")
    search.close()
    return effects


@pytest.fixture(params=NAMES)
def method(request):
    return methods.get(request.param)


@pytest.fixture(params=PROBLEMS, ids=lambda p: p.benchmark)
def problem(request, method):
    if method.enumerates and not request.param.space.enumerable:
        pytest.skip("a study refuses methods that need a list of all architectures where there is none")
    return request.param


def test_it_says_what_it_is(method):
    assert method.name in NAMES
    assert method.version
    assert method.summary
    assert not method.control or method.control in NAMES
    assert all(p.kind is not p.VAR_KEYWORD for p in inspect.signature(method.search).parameters.values())


def test_the_same_seed_gives_the_same_effects(method, problem):
    assert play(method, problem, 3) == play.__wrapped__(method, problem, 3)


def test_other_seeds_give_other_proposals(method, problem):
    proposals = [[p for e in play(method, problem, s) if isinstance(e, Evaluate) for p in e.proposals] for s in (1, 2)]
    assert proposals[0] != proposals[1]


def test_every_proposal_is_a_text_or_an_architecture_of_the_space(method, problem):
    for effect in play(method, problem, 5):
        if isinstance(effect, Evaluate):
            assert effect.proposals
            problem.space.as_array([p for p in effect.proposals if not isinstance(p, str)])


def test_it_asks_only_with_the_prompts_it_declares_and_fills_them(method, problem):
    for effect in play(method, problem, 5):
        # What categoricals are asked with means nothing to them.
        if isinstance(effect, Ask) and (method.prompts or not method.tunes):
            assert {p.template for p in effect.prompts} <= set(method.prompts)
            assert all(render(p.template, p.values)[0].strip() for p in effect.prompts)


def test_it_tunes_on_texts_of_the_space_alone(method, problem):
    for effect in play(method, problem, 6, steps=12):
        if isinstance(effect, Tune):
            for text in (*effect.texts, *effect.held_out):
                assert problem.space.format(problem.space.parse(text)) == text
            assert effect.weights is None or len(effect.weights) == len(effect.texts)


def test_it_survives_evaluations_that_fail(method, problem):
    play(method, problem, 7, break_every=3)
    play(method, problem, 7, break_every=1)


@settings(max_examples=10, deadline=None)
@given(answer=st.text(min_size=1, max_size=80))
@pytest.mark.parametrize("name", [n for n in NAMES if methods.get(n).prompts])
def test_it_survives_whatever_a_model_says(name, answer):
    play(methods.get(name), PROBLEMS[0], 0, steps=12, answer=answer)


def test_it_knows_nothing_of_files_servers_clocks_or_budgets(method):
    function = method.search
    while isinstance(function, partial):  # a preset
        function = function.func
    source = Path(inspect.getfile(function)).read_text()
    for word in (
        "open(",
        "import time",
        "import os",
        "pathlib",
        "socket",
        "openai",
        "bench.budget",
        "bench.journal",
        "bench.driver",
    ):
        assert word not in source
