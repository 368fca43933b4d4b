import numpy as np
import pytest

from bench.effects import Ask, Completion, Evaluate, Evaluation
from bench.llm.prompts import render
from bench.method import Problem
from bench.methods import methods


def conversation(graph, name, answers):
    """Plays a method by hand; returns the prompts it made."""
    problem = Problem(graph.space, graph.tasks["cora"], graph.name)
    search = methods.get(name).start(problem, np.random.default_rng(0), methods.get(name).complete({}))
    effect, prompts = next(search), []
    for text, score, failure in answers:
        assert isinstance(effect, Ask)
        assert effect.constraint == graph.space.grammar
        prompts.append(render(effect.prompts[0].template, effect.prompts[0].values)[0])
        effect = search.send([Completion(text, 10, 5)])
        assert effect == Evaluate([text])
        effect = search.send([Evaluation(None if failure else graph.space.parse(text), score, np.nan, failure)])
    assert isinstance(effect, Ask)
    return [*prompts, render(effect.prompts[0].template, effect.prompts[0].values)[0]]


@pytest.fixture
def archs(graph):
    return [graph.space.format(tuple(a)) for a in graph.space.enumerate()[[5, 500, 5000]].tolist()]


def test_the_prompt_holds_the_space_the_task_and_the_scores_so_far(graph, archs):
    prompts = conversation(graph, "genius", [(a, s, None) for a, s in zip(archs, (0.71234, 0.8, 0.65), strict=True)])
    assert graph.space.description in prompts[0]
    assert "cora" in prompts[0]
    assert not any(a in prompts[0].replace(graph.space.description, "") for a in archs)
    assert f"1. {archs[0]} -> 0.7123" in prompts[-1]
    assert f"3. {archs[2]} -> 0.6500" in prompts[-1]


def test_the_control_sees_the_same_without_the_scores(graph, archs):
    answers = [(a, s, None) for a, s in zip(archs, (0.71234, 0.8, 0.65), strict=True)]
    blind = conversation(graph, "genius_blind", answers)[-1]
    assert all(a in blind for a in archs)
    assert "->" not in blind.replace(graph.space.description, "")
    assert "0.71" not in blind
    assert blind == conversation(graph, "genius_blind", [(a, s / 2, None) for a, s, _ in answers])[-1]


def test_an_answer_that_is_no_architecture_is_kept_short_in_the_history(graph):
    prompt = conversation(graph, "genius", [("no idea " * 100, np.nan, "not an architecture")])[-1]
    assert "-> no score" in prompt
    assert prompt.count("no idea") < 20
