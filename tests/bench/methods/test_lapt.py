"""LAPT: what it reads, what it says to the model, and how it searches; the model is scripted."""

import numpy as np
import pytest

from bench.effects import Archive, Ask, Evaluate, Note
from bench.llm.prompts import render
from bench.methods import methods
from surrogates.benchmarks import benchmarks
from surrogates.errors import InputError
from surrogates.spaces.nas_bench_201 import OPERATIONS
from surrogates.subspace import everything, format_options, options_grammar, parse_options

CELLS = benchmarks.get("nas-bench-201")
SPACE = CELLS.space
TARGET, SOURCE = "cifar10", "ImageNet16-120"
WHOLE = format_options(SPACE, everything(SPACE))
NARROW = format_options(SPACE, ((2, 3),) * 6)
OTHER = format_options(SPACE, ((0, 1),) * 6)


def words(template: str, n: int) -> str:
    return NARROW if template == "lapt_translate" else f"{template} {n}"


@pytest.fixture
def play(play_transfer):
    """Drives LAPT, or another method, with the source task."""

    def from_source(evaluations, say=words, name="lapt", **given):
        return play_transfer(name, evaluations, say, **{"source": SOURCE} | given)

    return from_source


def templates(played):
    return [e.prompts[0].template for e in played.effects if isinstance(e, Ask)]


def prompts(played):
    return [render(e.prompts[0].template, e.prompts[0].values)[0] for e in played.effects if isinstance(e, Ask)]


def parts(played):
    return [e.text for e in played.effects if isinstance(e, Note) and e.name == "subspace"]


def starts(played):
    """Returns how many evaluations were made before each part."""
    at, made = [], 0
    for effect in played.effects:
        if isinstance(effect, Evaluate):
            made += len(effect.proposals)
        elif isinstance(effect, Note) and effect.name == "subspace":
            at.append(made)
    return at


def learning(played):
    """Returns what happens before the first evaluation."""
    first = next(i for i, effect in enumerate(played.effects) if isinstance(effect, Evaluate))
    return played.effects[:first]


@pytest.fixture
def leaks(play):
    """Tells whether what is learned depends on the target task's scores."""

    def differs(**given) -> bool:
        before, after = (learning(play(1, shift={TARGET: by}, **given)) for by in (0, 4321))
        return before != after

    return differs


def test_no_score_of_the_target_task_leaks_into_learning(leaks, play):
    assert not leaks()
    assert not leaks(archive="worst")
    assert not leaks(name="operation_counts")
    assert leaks(name="operation_counts", leak=True)
    assert all(e.task == SOURCE for e in play(20).effects if isinstance(e, Archive))


def test_the_leak_of_the_released_code_is_found_out(leaks):
    assert leaks(leak=True)


def test_what_is_learned_depends_on_the_source_task(play):
    before, after = (learning(play(1, shift={SOURCE: by})) for by in (0, 4321))
    assert before != after


def test_the_archive_is_the_best_of_the_source_task(play):
    (archive,) = [e for e in play(1, samples=7).effects if isinstance(e, Archive)]
    assert archive == Archive(SOURCE, 7)
    (worst,) = [e for e in play(1, archive="worst").effects if isinstance(e, Archive)]
    assert worst == Archive(SOURCE, 50, worst=True)


def test_the_steps_are_those_of_the_paper(play):
    steps = templates(play(11))
    assert steps[:3] == ["lapt_patterns", "lapt_principles", "lapt_translate"]
    assert steps[3:] == ["lapt_update", "lapt_translate"]


def test_each_step_is_told_what_came_before(play):
    played = play(11)
    said = dict(zip(templates(played), prompts(played), strict=False))
    order = np.argsort(-CELLS.scores(SOURCE, "validation"), kind="stable")
    first, second = (f"[{', '.join(OPERATIONS[op] for op in SPACE.enumerate()[row])}]" for row in order[:2])
    assert 0 < said["lapt_patterns"].index(first) < said["lapt_patterns"].index(second)
    assert SPACE.code.strip() in said["lapt_patterns"]  # the class that builds an architecture
    assert "lapt_patterns 0" in said["lapt_principles"]
    assert "lapt_principles 0" in said["lapt_update"]
    translations = [p for t, p in zip(templates(played), prompts(played), strict=True) if t == "lapt_translate"]
    assert "lapt_principles 0" in translations[0]
    assert "lapt_update 0" in translations[1]


@pytest.mark.parametrize("options", [2, 3])
def test_a_translation_is_bound_to_the_options_that_are_there(options, play):
    asked = [e for e in play(11, options=options).effects if isinstance(e, Ask)]
    for effect in asked:
        translates = effect.prompts[0].template == "lapt_translate"
        assert effect.constraint == (options_grammar(SPACE, options) if translates else None)
        if translates:
            prompt = effect.prompts[0]
            assert f"at least one and at most {options}." in render(prompt.template, prompt.values)[0]


def test_the_settings_are_those_of_the_papers_table_1_for_nas_bench_201():
    published = {
        "samples": 50, "options": 2, "first": 10, "every": 5, "selected": 5, "population": 5, "tournament": 2,
    }  # fmt: skip
    for name in ("lapt", "operation_counts"):
        assert published.items() <= methods.get(name).parameters.items()


def test_an_iteration_that_finds_something_better_updates_and_one_that_does_not_explores(play):
    def better(template: str, n: int) -> str:
        return (OTHER, NARROW)[min(n, 1)] if template == "lapt_translate" else template

    def worse(template: str, n: int) -> str:
        return (NARROW, OTHER)[min(n, 1)] if template == "lapt_translate" else template

    assert templates(play(16, better))[3::2] == ["lapt_update", "lapt_update"]
    assert templates(play(16, worse))[3::2] == ["lapt_update", "lapt_explore"]


@pytest.mark.parametrize(("strict", "next_"), [(False, "lapt_update"), (True, "lapt_explore")])
def test_an_iteration_that_is_as_good_updates_unless_strict(strict, next_, play):
    one = format_options(SPACE, ((3,),) * 6)
    steps = templates(play(16, lambda t, n: one if t == "lapt_translate" else t, strict=strict))
    assert steps[3::2] == ["lapt_update", next_]


def test_principles_are_remembered_after_a_failure_unless_forgotten(play):
    def say(template: str, n: int) -> str:
        return (NARROW, OTHER)[min(n, 1)] if template == "lapt_translate" else f"{template} {n}"

    asked = [prompts(play(16, say, forget=forget)) for forget in (False, True)]
    assert ["lapt_update 0" in said[-2] for said in asked] == [True, False]
    remembered, forgotten = (said[-1] for said in asked)
    assert "lapt_explore 0" in remembered
    assert "lapt_update 0" in remembered
    assert "lapt_explore 0" in forgotten
    assert "lapt_update 0" not in forgotten


def test_it_searches_in_the_part_that_the_model_chose(play):
    assert set(np.ravel(play(40).proposed)) == {2, 3}


def test_architectures_from_before_are_brought_into_the_new_part_unless_not_projected(play):
    def say(template: str, n: int) -> str:
        return (NARROW, OTHER)[min(n, 1)] if template == "lapt_translate" else template

    projected, kept = (play(15, say, project=project).proposed[10:] for project in (True, False))
    assert set(np.ravel(projected)) <= {0, 1}
    assert set(np.ravel(kept)) & {2, 3}


def test_adaptation_begins_where_the_schedule_says(play):
    played = play(40, first=20, every=10)
    assert starts(played) == [0, 20, 30]


def test_without_adaptation_nothing_is_asked_after_learning(play):
    played = play(60, adaptation=False)
    assert templates(played) == ["lapt_patterns", "lapt_principles", "lapt_translate"]
    assert len(parts(played)) == 1


def test_without_transfer_the_first_iteration_has_the_whole_space(play):
    played = play(15, source="")
    assert not [e for e in played.effects if isinstance(e, Archive)]
    assert parts(played) == [WHOLE, NARROW]
    first, later = played.proposed[:10], played.proposed[10:]
    assert set(np.ravel(first)) - {2, 3}
    assert set(np.ravel(later)) <= {2, 3}
    best = max(first, key=lambda a: CELLS.query([a], TARGET).validation[0])
    assert f"[{', '.join(OPERATIONS[op] for op in best)}]" in prompts(played)[0]


def test_without_transfer_the_schedule_and_the_best_so_far_are_kept(play):
    def worse(template, n):
        return OTHER if template == "lapt_translate" else template

    played = play(30, worse, source="", first=10, every=5)
    assert starts(played) == [0, 10, 15, 20, 25]
    # What the whole space gave is not reached with two poor operations.
    assert templates(played)[3] == "lapt_explore"


def test_an_answer_that_failed_changes_nothing(play):
    def silent(template, n):
        return "" if template in ("lapt_update", "lapt_explore") else words(template, n)

    noted = [e.text for e in play(30, silent).effects if isinstance(e, Note) and e.name == "principles"]
    assert set(noted) == {"lapt_principles 0"}


@pytest.mark.parametrize("name", ["genius", "eda", "bananas"])
def test_a_nas_method_that_cannot_search_in_parts_is_refused(play, name):
    with pytest.raises(InputError, match=f"inner: {name} asks a language model or lists the whole space"):
        play(1, inner=name)


@pytest.mark.parametrize("name", ["random_subspace", "operation_counts"])
def test_a_nas_method_that_chooses_a_part_itself_is_refused(play, name):
    with pytest.raises(InputError, match=f"inner: {name} cannot search in a part: this is a part of"):
        play(1, inner=name)


def test_an_unknown_nas_method_is_refused_before_anything_is_asked(play):
    with pytest.raises(InputError, match=r"local_serch.*did you mean 'local_search'"):
        play(1, inner="local_serch")


@pytest.mark.parametrize("inner", ["regularized_evolution", "local_search", "random_search"])
def test_a_part_of_one_architecture_can_be_searched(play, inner):
    one = format_options(SPACE, ((3,),) * 6)
    played = play(8, lambda t, n: one if t == "lapt_translate" else t, inner=inner)
    assert set(played.proposed) == {(3,) * 6}


def test_a_translation_that_cannot_be_read_is_asked_for_again_and_then_leaves_all_options(play):
    broken = NARROW.replace("1->2: nor_conv_1x1, nor_conv_3x3", "1->2: as before")
    played = play(1, lambda t, n: broken if t == "lapt_translate" else t, retries=2)
    assert templates(played).count("lapt_translate") == 3
    options = parse_options(SPACE, parts(played)[0])
    assert options == [(2, 3), (2, 3), (0, 1, 2, 3, 4), (2, 3), (2, 3), (2, 3)]
    again = play(1, lambda t, n: (broken, NARROW)[n] if t == "lapt_translate" else t)
    assert parts(again) == [NARROW]
    sorry = play(1, lambda t, n: (broken, "I am sorry.")[n] if t == "lapt_translate" else t)
    assert parse_options(SPACE, parts(sorry)[0]) == options


def test_principles_are_noted_whenever_they_change(play):
    noted = [e.text for e in play(11).effects if isinstance(e, Note) and e.name == "principles"]
    assert noted == ["lapt_principles 0", "lapt_update 0"]


@pytest.mark.parametrize("inner", ["regularized_evolution", "local_search", "random_search"])
def test_other_nas_methods_search_in_the_part(inner, play):
    assert set(np.ravel(play(40, inner=inner).proposed)) == {2, 3}


@pytest.mark.parametrize("inner", ["regularized_evolution", "local_search", "random_search"])
def test_other_nas_methods_follow_when_the_part_changes(inner, play):
    def changing(template: str, n: int) -> str:
        return (NARROW, OTHER)[n % 2] if template == "lapt_translate" else template

    played = play(41, changing, inner=inner)
    assert parts(played) == [NARROW, OTHER] * 4
    for i, arch in enumerate(played.proposed):
        expected = {2, 3} if i < 10 or (i - 10) // 5 % 2 else {0, 1}
        assert set(arch) <= expected


def test_without_principles_in_words_all_is_allowed(play):
    played = play(1, lambda t, n: NARROW if t == "lapt_translate" else "")
    assert templates(played) == ["lapt_patterns", "lapt_principles"]
    assert parts(played) == [WHOLE]


def test_a_nas_method_that_has_seen_all_of_a_small_part_starts_anew(play):
    two = format_options(SPACE, ((3,),) * 5 + ((2, 3),))
    assert len(play(30, lambda t, n: two if t == "lapt_translate" else t, inner="local_search").proposed) == 30


@pytest.mark.parametrize("task", ["cifar10", "cifar100"])
def test_with_the_best_part_the_top_is_reached_when_its_density_says(task, play):
    """Uniform draws from a part with a share p of top architectures need 1/p of them on the mean, with sd < 1/p."""
    top = CELLS.scores(task, "validation") >= CELLS.threshold(task, "validation")
    winners = SPACE.enumerate()[top]
    best = tuple(
        tuple(sorted(np.argsort(-np.bincount(column, minlength=5), kind="stable")[:2].tolist())) for column in winners.T
    )
    oracle = format_options(SPACE, best)
    archs = SPACE.enumerate()
    inside = np.all([np.isin(archs[:, i], best[i]) for i in range(6)], axis=0)
    share = top[inside].mean()
    assert share > 10 * top.mean()
    needed = []
    for seed in range(200):
        found = play(int(20 / share), lambda t, n: oracle if t == "lapt_translate" else t, seed=seed,
                               inner="random_search", adaptation=False).proposed  # fmt: skip
        hits = np.flatnonzero(top[SPACE.index(found)])
        needed.append(hits[0] + 1 if hits.size else int(20 / share))
    assert np.mean(needed) == pytest.approx(1 / share, abs=4 / share / np.sqrt(200))
