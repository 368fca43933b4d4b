import ast
import re

import numpy as np
import pytest
from datasketch import MinHash

from analysis import program_novelty
from analysis.program_novelty import estimated_similarities, filter_errors, rename, scatter_edits
from analysis.programs import Program, compiles
from bench.novelty_filter import lexemes
from theory.minhash import admission_probability, estimate_variance, shingles


def test_renaming_changes_local_variables_only(block):
    renamed = rename(Program.read(block), np.random.default_rng(0))
    assert compiles(renamed)
    gone = {" layers =", " y =", "for step", "p.numel"}
    assert not any(text in renamed for text in gone)
    # Attributes, parameters, strings and names in f-strings stay.
    assert all(text in renamed for text in ("self.layers", "self, width", '"step"', "total =", 'f"{total} parameters"'))


def test_renamed_programs_are_the_same_but_for_names(pool):
    rng = np.random.default_rng(0)

    class Anonymous(ast.NodeTransformer):
        def visit_Name(self, node):
            return ast.copy_location(ast.Name(id="_", ctx=node.ctx), node)

    def anonymous(text):
        return ast.dump(Anonymous().visit(ast.parse(text)))

    for program in pool[:60]:
        text = rename(program, rng)
        assert anonymous(text) == anonymous(program.text)
        old = [n.id for n in ast.walk(ast.parse(program.text)) if isinstance(n, ast.Name)]
        new = [n.id for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Name)]
        # One old name has one new name, and no two share it.
        assert len({*zip(old, new, strict=True)}) == len({*old}) == len({*new})


def test_nothing_is_renamed_where_variables_are_looked_up_by_name():
    text = "def f():\n    x = 1\n    return locals()\n"
    assert rename(Program.read(text), np.random.default_rng(0)) == text


def test_renaming_nothing_changes_nothing(block):
    assert rename(Program.read(block), np.random.default_rng(0), 0.0) == block


def test_scattered_edits_change_that_many_tokens(block):
    program = Program.read(block)
    edited = scatter_edits(program, 5, np.random.default_rng(0))
    assert [f"edit{i}" in lexemes(edited) for i in range(6)] == [True] * 5 + [False]
    kept = re.split(r" edit\d ", edited)
    # What lies between the edits is the program's text, in order, and one token is missing at each edit.
    place = 0
    for i, part in enumerate(kept):
        start = block.index(part, place)
        assert i == 0 or block[place:start] in program.tokens()
        assert (i == 0) == (start == 0)
        place = start + len(part)
    assert place == len(block)


def test_sketches_agree_with_exact_similarity_and_vary_no_more_than_datasketch(similar):
    rng, k = np.random.default_rng(0), 128
    pairs = [similar(0.92, 300, rng) for _ in range(300)]
    exact = pairs[0][2]
    ours = estimated_similarities([(a, b) for a, b, _ in pairs], k)
    theirs = []
    for a, b, _ in pairs:
        sketches = [MinHash(num_perm=k, seed=1), MinHash(num_perm=k, seed=1)]
        for sketch, items in zip(sketches, (a, b), strict=True):
            sketch.update_batch([item.encode() for item in items])
        theirs.append(sketches[0].jaccard(sketches[1]))
    variance, rate = estimate_variance(exact, k), admission_probability(exact, k)
    spread = 4 * np.sqrt(2 / 299)
    assert ours.mean() == pytest.approx(exact, abs=4 * np.sqrt(variance / 300))
    assert np.mean(theirs) == pytest.approx(exact, abs=4 * np.sqrt(variance / 300))
    assert np.var(theirs) == pytest.approx(variance, rel=spread)
    assert ours.var() < variance * (1 + spread)
    assert np.mean(np.array(theirs) < 0.9) == pytest.approx(rate, abs=4 * np.sqrt(rate * (1 - rate) / 300))
    assert (ours < 0.9).mean() < rate + 4 * np.sqrt(rate * (1 - rate) / 300)


def test_the_filter_errs_on_real_programs_only_near_the_threshold(pool, misjudged):
    rng = np.random.default_rng(0)
    sets = [shingles(lexemes(text), 10) for p in pool[:150] for text in (p.text, rename(p, rng, 0.1))]
    assert misjudged(sets) == []


def test_errors_of_the_filter_are_counted_against_exact_similarity(similar):
    rng = np.random.default_rng(0)
    near = [similar(0.9, 400, rng)[:2] for _ in range(60)]
    sets = [side for pair in near for side in pair]
    exactly = similar(0.9, 400, rng)[2]
    false_admissions, false_rejections, kept = (int(found.sum()) for found in filter_errors(sets))
    # Nothing but the pairs is similar at all, so each second program is judged against its first alone.
    assert kept == (60 + false_admissions if exactly >= 0.9 else 120 - false_rejections)


def test_what_evades_the_filter_is_measured(pool):
    found = program_novelty.demonstrate(np.random.default_rng(0), programs=20, filtered=60)
    rates = [r["measured"] for r in found.rows if r["quantity"].startswith("admitted by the filter after")]
    assert all(rate is not None and 0 <= rate <= 1 for rate in rates)
    measured = found.series["mean J, measured"]
    assert measured["y"] == sorted(measured["y"], reverse=True)
    assert all(low <= y <= high for y, low, high in zip(measured["y"], measured["low"], measured["high"], strict=True))
