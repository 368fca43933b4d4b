"""Runs that tune, from start to end: what they journal, and how they go on after they were cut off."""

import hashlib
import json
import shutil
import sqlite3

import numpy as np
import pytest
from scipy import stats

from bench.budget import Budget
from bench.categoricals import Categoricals
from bench.driver import run_study
from bench.effects import Prompt, Sampling, Tune, Tuning, ask, evaluate, tune
from bench.executors import Inline
from bench.journal import Journal
from bench.method import Method
from bench.methods import methods
from bench.study import Run, Study
from surrogates.errors import InputError
from theory.families import Product

VALUES: dict[str, object] = {"space": "s", "benchmark": "b", "task": "t", "metric": "m", "text": "", "failure": ""}
PROMPT = Prompt("cross_entropy", VALUES)
VARIANTS = [
    {},
    {"candidates": 30, "corpus": "accumulated", "weights": "quality", "smoothing": 0.3, "held_out": 0.25},
    {"candidates": 40, "corpus": "accumulated+prior", "smoothing": 0.5, "warm_start": False, "held_out": 0.2},
    {"candidates": 60, "temperature": 1.5, "elite": "share", "weights": "quality"},
]
"""Parameters of `eda`."""


def rows(path, query):
    db = sqlite3.connect(path)
    try:
        return db.execute(query).fetchall()
    finally:
        db.close()


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    """The journal of a study of all variants, and the parameters of each run in it."""
    table = {
        "name": "closed-form",
        "grid": [
            {
                "methods": [{"name": "eda", **variant} for variant in VARIANTS],
                "benchmarks": {"analog-nasbench": ["clean"]},
                "seeds": 3,
                "budget": {"evaluations": 300},
            }
        ],
    }
    study, out = Study.model_validate(table), tmp_path_factory.mktemp("study")
    assert run_study(study, study.runs(), out, Inline()) == {"skipped": 0, "done": 12, "failed": 0}
    path = out / "journal.sqlite"
    parameters = {run: json.loads(config)["parameters"] for run, config in rows(path, "SELECT id, config FROM runs")}
    return path, parameters


def distributions(path, run):
    """Returns the step of each draw of a run, with p and what was drawn with."""
    query = f"""SELECT step, log_p, sampled FROM draws JOIN distributions ON hash = distribution
                WHERE run = {run} ORDER BY step"""
    for step, *logs in rows(path, query):
        p, sampled = (blob and np.exp(np.frombuffer(blob, dtype=np.float32).astype(float)) for blob in logs)
        yield step, p, p if sampled is None else sampled


def test_each_distribution_is_the_closed_form_update_of_the_corpus_before_it(studied, analog):
    path, parameters = studied
    space, updates = analog.space, 0
    family = Product(space.enumerate(), 5)
    for run, given in parameters.items():
        theta = np.full((6, 5), 1 / 5)
        query = f"SELECT step, texts, weights, generator FROM tunes WHERE run = {run} ORDER BY step"
        corpora = {step: (json.loads(t), json.loads(w), made) for step, t, w, made in rows(path, query)}
        for step, p, _ in distributions(path, run):
            texts, weights, made = corpora.pop(step - 1) if step else ([], [], None)
            if made:  # else the generator stays
                target = np.zeros(space.size)
                found = space.index([space.parse(text) for text in texts])
                np.add.at(target, found, 1 if weights is None else weights)
                (new,) = family.project(target / target.sum(), ())
                old = theta if given["warm_start"] else np.full((6, 5), 1 / 5)
                theta = given["smoothing"] * old + (1 - given["smoothing"]) * new
                updates += 1
            np.testing.assert_allclose(p, family.probabilities((theta,)), rtol=1e-5)
            assert p.sum() == pytest.approx(1, abs=1e-6)
        assert not corpora
    assert updates > 30


def test_each_corpus_is_the_elites_of_its_cycle(studied):
    path, parameters = studied
    for run in [run for run, given in parameters.items() if given["corpus"] == "current_elites"]:
        threshold = None
        query = f"SELECT step, texts, weights, held_out FROM tunes WHERE run = {run} ORDER BY step"
        for step, texts, weights, held_out in rows(path, query):
            where = f"WHERE run = {run} AND step = {step - 1} ORDER BY position"
            scored = rows(path, f"SELECT arch, validation FROM evaluations {where}")
            best = sorted((score for _, score in scored), reverse=True)[round(0.25 * len(scored)) - 1]
            threshold = best if threshold is None or parameters[run]["elite"] == "share" else threshold
            elites = [(arch, score) for arch, score in scored if score >= threshold]
            assert json.loads(texts) + json.loads(held_out) == [arch for arch, _ in elites]
            if parameters[run]["weights"] == "quality":
                expected = [score / 100 for _, score in elites][: len(json.loads(texts))]
                assert json.loads(weights) == pytest.approx(expected)


@pytest.mark.parametrize(
    "warm_start",
    [True, False],
)
def test_likelihoods_of_held_out_texts_are_those_of_the_generators_before_and_after(studied, analog, warm_start):
    path, parameters = studied
    compared = 0
    for run in [run for run, given in parameters.items() if given["warm_start"] == warm_start]:
        found = {step: p for step, p, _ in distributions(path, run)}
        query = f"SELECT step, held_out, log_likelihoods, generator FROM tunes WHERE run = {run}"
        for step, held_out, pairs, made in rows(path, query):
            index = analog.space.index([analog.space.parse(text) for text in json.loads(held_out)])
            before, after = np.array(json.loads(pairs)).reshape(-1, 2).T
            np.testing.assert_allclose(np.exp(before), found[step - 2][index], rtol=1e-4)
            # What makes them less likely is undone.
            assert (made is not None) == (not len(index) or after.mean() >= before.mean())
            if made:
                np.testing.assert_allclose(np.exp(after), found[step + 1][index], rtol=1e-4)
                compared += len(index)
    assert compared > 10


@pytest.mark.parametrize("variant", range(len(VARIANTS)))
def test_candidates_are_drawn_from_the_distributions(studied, analog, variant):
    path, parameters = studied
    rng, places = np.random.default_rng(0), []
    # Runs with one seed draw with the same random numbers whatever their parameters are, so each variant is for itself.
    for run in list(parameters)[3 * variant : 3 * variant + 3]:
        query = f"SELECT step, json_group_array(text) FROM completions WHERE run = {run} GROUP BY step"
        texts, temperature = dict(rows(path, query)), parameters[run]["temperature"]
        assert parameters[run].items() >= VARIANTS[variant].items()
        for step, p, sampled in distributions(path, run):
            # As p is a product, so is p^(1/T), normalised.
            np.testing.assert_allclose(sampled, (q := p ** (1 / temperature)) / q.sum(), rtol=1e-4)
            drawn = analog.space.index([analog.space.parse(text) for text in json.loads(texts.pop(step))])
            assert (sampled[drawn] > 0).all()
            # Where a draw falls in the distribution function, at random within its step, is uniform.
            places += list(np.cumsum(sampled)[drawn] - rng.random(len(drawn)) * sampled[drawn])
        assert not texts
    assert len(places) >= 3 * 300
    assert stats.chisquare(np.histogram(places, bins=25, range=(0, 1))[0]).pvalue > 0.001


def test_what_is_drawn_is_what_is_evaluated(studied):
    path, _ = studied
    drawn = rows(path, "SELECT run, step + 1, position, text FROM completions ORDER BY 1, 2, 3")
    evaluated = rows(path, "SELECT run, step, position, arch FROM evaluations ORDER BY 1, 2, 3")
    assert set(evaluated) <= set(drawn)
    assert len(evaluated) == 12 * 300


def journalled(path):
    """Returns all that effects left, except for seconds."""
    tables = {
        "tunes": "run, step, data_hash, prompt, texts, weights, held_out, tuning, losses, log_likelihoods, generator,"
        "failure",
        "draws": "run, step, prompt, generator, distribution",
        "distributions": "hash, log_p, sampled",
        "completions": "run, step, position, model, revision, template, prompt_hash, prompt, sampling, text, failure",
        "evaluations": "run, step, position, proposal, arch, fidelity, validation, test, parameters, failure",
        "runs": "key, status, reason",
    }
    return {table: sorted(rows(path, f"SELECT {columns} FROM {table}"), key=repr) for table, columns in tables.items()}


def states(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("generators/*/*")}


@pytest.fixture
def cut(monkeypatch):
    """Lets so many effects be written, and none after them; None: all."""
    written = {name: getattr(Journal, name) for name in ("write_draw", "write_evaluations", "write_tune")}

    def do(writes):
        left = iter(range(10**9 if writes is None else writes))

        def through(name):
            def write(self, *arguments):
                if next(left, None) is None:
                    raise InputError("cut off")
                return written[name](self, *arguments)

            return write

        for name in written:
            monkeypatch.setattr(Journal, name, through(name))

    return do


@pytest.fixture
def eda_runs(analog):
    def make(cycles=3, seeds=1, **parameters):
        method, budget = methods.get("eda"), Budget(evaluations=20 * cycles)
        given = method.complete({"candidates": 20, "smoothing": 0.2, **parameters})
        return [Run(method, given, analog, "clean", seed, budget) for seed in range(seeds)]

    return make


def test_a_run_that_is_cut_off_before_each_write_ends_as_one_that_was_not(drive, eda_runs, cut, tmp_path):
    runs, steps = eda_runs(seeds=2), 2 * (3 + 3 + 2)
    drive(runs, name="whole/journal.sqlite")
    for _ in range(steps - 1):
        cut(1)
        with pytest.raises(InputError, match="cut off"):
            drive(runs, name="cut/journal.sqlite")
    cut(1)  # the last one
    assert drive(runs, name="cut/journal.sqlite")["failed"] == 0
    assert journalled(tmp_path / "cut/journal.sqlite") == journalled(tmp_path / "whole/journal.sqlite")
    assert states(tmp_path / "cut") == states(tmp_path / "whole")


def test_states_that_are_of_no_more_use_are_removed(drive, eda_runs, tmp_path):
    drive(eda_runs(cycles=4, seeds=2))
    last = rows(tmp_path / "journal.sqlite", "SELECT run, generator FROM tunes WHERE step = 8 ORDER BY run")
    assert sorted(states(tmp_path)) == [f"generators/{run}/{generator}" for run, generator in last]


def test_a_generator_is_named_by_the_hash_of_its_file(drive, eda_runs, tmp_path):
    drive(eda_runs())
    ((name, content),) = states(tmp_path).items()
    assert name.endswith(hashlib.sha256(content).hexdigest())


def break_off(drive, runs, cut, writes):
    cut(writes)
    with pytest.raises(InputError, match="cut off"):
        drive(runs)
    cut(None)


@pytest.mark.parametrize("damage", ["removed", "shortened", "changed", "a folder"])
def test_a_state_that_is_missing_or_damaged_is_one_clear_error(drive, eda_runs, cut, tmp_path, damage):
    break_off(drive, eda_runs(), cut, 3)
    (state,) = tmp_path.glob("generators/*/*")
    content = state.read_bytes()
    state.unlink()
    if damage == "shortened":
        state.write_bytes(content[:-1])
    elif damage == "changed":
        state.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "a folder":
        state.mkdir()
    with pytest.raises(InputError, match=rf"{state}: .*missing or damaged"):
        drive(eda_runs())
    if damage != "a folder":
        state.write_bytes(content)
        assert drive(eda_runs()) == {"skipped": 0, "done": 1, "failed": 0}


def test_a_folder_of_states_that_is_missing_is_one_clear_error(drive, eda_runs, cut, tmp_path):
    break_off(drive, eda_runs(), cut, 3)
    (state,) = tmp_path.glob("generators/*/*")
    shutil.rmtree(tmp_path / "generators")
    with pytest.raises(InputError, match=rf"{state}: .*missing or damaged"):
        drive(eda_runs())


def test_a_full_disk_is_one_clear_error_and_the_run_goes_on_later(drive, eda_runs, monkeypatch, tmp_path):
    drive(eda_runs(), name="whole/journal.sqlite")
    save, left = np.save, iter(range(1))

    def full(file, array):
        if next(left, None) is None:
            file.write(b"half a state")
            raise OSError(28, "No space left on device")
        save(file, array)

    monkeypatch.setattr("bench.categoricals.np.save", full)
    with pytest.raises(InputError, match=r"generators/1/\S+: No space left on device; free space and run again"):
        drive(eda_runs(), name="full/journal.sqlite")
    assert len(rows(tmp_path / "full/journal.sqlite", "SELECT * FROM tunes")) == 1
    monkeypatch.setattr("bench.categoricals.np.save", save)
    drive(eda_runs(), name="full/journal.sqlite")
    assert journalled(tmp_path / "full/journal.sqlite") == journalled(tmp_path / "whole/journal.sqlite")
    assert states(tmp_path / "full") == states(tmp_path / "whole")


@pytest.fixture
def tuning_run(analog):
    """Makes a run that takes tuning steps, each followed by an answer to one prompt and its evaluation."""

    def make(*effects, tunes=True, constraint=analog.space.grammar):
        def tunes_on(problem, rng):
            for effect in effects:
                seen.append((yield from tune(effect)))
                answers = yield from ask([PROMPT], constraint)
                yield from evaluate(answer.text for answer in answers)

        seen = []
        run = Run(Method("tunes_on", tunes_on, "1", tunes=tunes), {}, analog, "clean", 0, Budget(evaluations=9))
        return run, seen

    return make


@pytest.fixture
def cells(analog):
    return [analog.space.format(tuple(arch)) for arch in analog.space.enumerate()[[1, 77, 5000, 9999]].tolist()]


CHANGES = {
    "texts": lambda c: {"texts": [c[0], c[3]]},
    "order": lambda c: {"texts": [c[1], c[0]]},
    "weights": lambda c: {"weights": [1, 2]},
    "held_out": lambda c: {"held_out": [c[3]]},
    "keep": lambda c: {"keep": 0.25},
    "anew": lambda c: {"anew": True},
    "tuning": lambda c: {"tuning": Tuning(rank=2)},
    "prompt": lambda c: {"prompt": Prompt("cross_entropy", {**PROMPT.values, "task": "another"})},
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_step_that_is_not_the_journalled_one_is_found_out(drive, tuning_run, cells, tmp_path, change):
    first = {"texts": cells[:2], "prompt": PROMPT, "weights": [1, 1.5], "held_out": [cells[2]], "keep": 0.5}
    run, _ = tuning_run(Tune(cells, PROMPT), Tune(**first))
    drive([run])
    db = sqlite3.connect(tmp_path / "journal.sqlite", isolation_level=None)
    db.execute("UPDATE runs SET status='running'")
    db.close()
    drive([run])  # the same again is no contradiction
    db = sqlite3.connect(tmp_path / "journal.sqlite", isolation_level=None)
    db.execute("UPDATE runs SET status='running'")
    db.close()
    run, _ = tuning_run(Tune(cells, PROMPT), Tune(**first | CHANGES[change](cells)))
    with pytest.raises(InputError, match=r"tunes_on on analog-nasbench/clean, seed 0, step 3.*raise its version"):
        drive([run])


def test_a_step_that_fails_is_journalled_and_the_generator_stays(drive, tuning_run, cells, tmp_path):
    run, seen = tuning_run(Tune([], PROMPT), Tune(cells[:1], PROMPT), Tune(cells, PROMPT, [0] * 4), Tune([], PROMPT))
    assert drive([run])["done"] == 1
    assert [tuned.failure is None for tuned in seen] == [False, True, False, False]
    made = rows(tmp_path / "journal.sqlite", "SELECT generator, failure FROM tunes ORDER BY step")
    assert [(generator is None, failure) for generator, failure in made] == [
        (True, "the corpus is empty"), (False, None),
        (True, "the weights must be finite and at least 0, not all 0"), (True, "the corpus is empty"),
    ]  # fmt: skip
    drawn = rows(tmp_path / "journal.sqlite", "SELECT generator FROM draws ORDER BY step")
    assert [generator for (generator,) in drawn] == [None] + [made[1][0]] * 3
    # The generator that stays knows one cell.
    assert rows(tmp_path / "journal.sqlite", "SELECT text FROM completions ORDER BY step")[1:] == [(cells[0],)] * 3
    assert [name.rpartition("/")[2] for name in states(tmp_path)] == [made[1][0]]


def test_a_distribution_is_computed_again_only_after_the_generator_has_changed(
    drive, tuning_run, cells, tmp_path, monkeypatch
):
    computed = []

    def counting(self, state, *others, distribution=Categoricals.distribution):
        computed.append(state and state.name)
        return distribution(self, state, *others)

    monkeypatch.setattr(Categoricals, "distribution", counting)
    nothing = Tune([], PROMPT)
    run, _ = tuning_run(nothing, nothing, Tune(cells[:1], PROMPT), nothing, Tune(cells, PROMPT), nothing)
    drive([run])
    made = [hash_ for (hash_,) in rows(tmp_path / "journal.sqlite", "SELECT generator FROM draws ORDER BY step")]
    assert computed == [None, made[2], made[4]]
    assert made == [None, None, made[2], made[2], made[4], made[4]]


def test_what_is_replayed_is_what_was_answered(drive, tuning_run, cells, tmp_path):
    effects = (Tune(cells[:3], PROMPT, held_out=cells[2:]), Tune([], PROMPT), Tune(cells, PROMPT))
    run, first = tuning_run(*effects)
    drive([run])
    db = sqlite3.connect(tmp_path / "journal.sqlite", isolation_level=None)
    db.execute("UPDATE runs SET status='running'")
    db.close()
    run, again = tuning_run(*effects)
    drive([run])
    assert first == again
    assert len(first[0].held_out) == 2
    assert first[0].held_out[1][1] == -np.inf  # it is no member of the new family


def test_a_method_that_tunes_without_saying_so_is_an_error(drive, tuning_run, cells):
    run, _ = tuning_run(Tune(cells, PROMPT), tunes=False)
    with pytest.raises(InputError, match="tunes_on tunes but does not declare it"):
        drive([run])


def test_a_method_that_tunes_but_asks_without_the_grammar_is_an_error(drive, tuning_run, cells):
    run, _ = tuning_run(Tune(cells, PROMPT), constraint=None)
    with pytest.raises(InputError, match="tunes_on tunes, and asks without its space's grammar"):
        drive([run])


def test_a_text_outside_the_space_is_an_error(drive, tuning_run, cells):
    run, _ = tuning_run(Tune([*cells, "no cell"], PROMPT))
    with pytest.raises(InputError, match="no cell"):
        drive([run])


def test_each_prompt_of_a_question_gets_its_own_answers(drive, analog, tmp_path):
    other = Prompt("cross_entropy", {**PROMPT.values, "task": "another"})

    def asks_two(problem, rng):
        answers = yield from ask([PROMPT, other] * 100, problem.space.grammar, Sampling(temperature=0.5))
        yield from evaluate(answer.text for answer in answers)

    run = Run(Method("asks_two", asks_two, "1", tunes=True), {}, analog, "clean", 0, Budget(evaluations=200))
    assert drive([run])["done"] == 1
    assert len(rows(tmp_path / "journal.sqlite", "SELECT * FROM draws")) == 2
    found = rows(tmp_path / "journal.sqlite", "SELECT prompt, text FROM completions ORDER BY position")
    assert [prompt for prompt, _ in found[:4]] == [found[0][0], found[1][0]] * 2
    assert len({text for _, text in found}) > 190  # of 15,625, so that few are drawn twice
