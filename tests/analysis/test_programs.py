import ast
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from datasketch import MinHash

from analysis import programs
from analysis.programs import (
    Delta,
    NoveltyFilter,
    Program,
    apply_deltas,
    compiles,
    corrupt,
    corrupted_deltas,
    estimated_similarities,
    filter_errors,
    lexemes,
    rename,
    scatter_edits,
    source_files,
    sources,
)
from surrogates.errors import InputError
from theory.minhash import admission_probability, estimate_variance, jaccard, shingles

BLOCK = '''class Block(nn.Module):
    """A block; its name is Block."""

    def __init__(self, width: int, depth: int = 2) -> None:
        super().__init__()
        layers = [nn.Linear(width, width) for _ in range(depth)]
        self.layers = nn.Sequential(*layers)
        total = sum(p.numel() for p in self.layers.parameters())
        self.total = total  # the total
        label = f"{total} parameters"
        self.label = label

    def forward(self, x):
        y = self.layers(x)
        for step in range(3):
            y = y + step * x
        return {"out": y, "step": step}
'''

TEXTS = {
    "corpus of NAS-Bench code": ("../shared/data/lemur_code.parquet", "code"),
    "run of a language model": ("../shared/data/nngpt_markov_code.parquet", "code"),
}


@pytest.fixture(scope="module")
def pool():
    try:
        return sources(np.random.default_rng(0), 300)
    except InputError as error:
        pytest.skip(str(error))


def similar(similarity, size, rng):
    """Returns two sets of equal size with (nearly) this Jaccard similarity, and the exact one."""
    common = round(2 * size * similarity / (1 + similarity))
    items = [f"{v:x}" for v in rng.integers(2**62, size=2 * size - common)]
    a, b = frozenset(items[:size]), frozenset(items[:common] + items[size:])
    return a, b, jaccard(a, b)


def test_without_model_files_the_error_says_how_to_get_them(monkeypatch, tmp_path):
    monkeypatch.setenv("NASCENT_HOME", str(tmp_path))
    monkeypatch.setattr(programs.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="nascent llm setup"):
        source_files()


def test_model_files_are_found_in_the_folder_of_the_language_models(monkeypatch, tmp_path):
    monkeypatch.setenv("NASCENT_HOME", str(tmp_path))
    monkeypatch.setattr(programs.importlib.util, "find_spec", lambda name: None)
    folder = tmp_path / "vllm/lib/python3.11/site-packages/transformers/models/llama"
    folder.mkdir(parents=True)
    (folder / "modeling_llama.py").write_text(BLOCK)
    (folder / "configuration_llama.py").write_text("x = 1\n")
    assert [path.name for path in source_files()] == ["modeling_llama.py"]
    assert [p.text for p in sources(np.random.default_rng(0), 5)] == [BLOCK]


def test_real_programs_compile_and_differ(pool):
    assert len({p.text for p in pool}) == len(pool)
    assert all(50 <= len(p.spans) <= 2000 and compiles(p.text) for p in pool)


def test_no_text_is_executed(tmp_path):
    trap = tmp_path / "executed"
    assert compiles(f"open({str(trap)!r}, 'w').close()\nraise SystemExit\n")
    assert not trap.exists()


@pytest.mark.parametrize("text", ["def f(:\n", "\0", "(" * 500 + ")" * 500, "return 1\n", "x = 08\n"])
def test_broken_texts_do_not_compile(text):
    assert not compiles(text)


def test_tokens_are_those_of_the_text_without_comments_and_layout():
    assert Program.read("x = [1, 'a b']  # note\n\n").tokens() == ["x", "=", "[", "1", ",", "'a b'", "]"]
    assert Program.read("ä = 'é'; b").tokens() == ["ä", "=", "'é'", ";", "b"]


def test_a_text_that_is_not_python_is_refused():
    with pytest.raises(InputError, match="is not Python"):
        Program.read("x = (\n")


def test_only_wrong_tokens_are_touched():
    program, rng = Program.read(BLOCK), np.random.default_rng(0)
    assert corrupt(program, np.zeros(len(program.spans), dtype=bool), rng) == BLOCK
    for place in range(len(program.spans)):
        wrong = np.arange(len(program.spans)) == place
        text = corrupt(program, wrong, rng)
        start, stop = program.spans[place]
        assert text != BLOCK
        assert text.startswith(BLOCK[:start])
        assert text.endswith(BLOCK[stop:])


def test_git_rebuilds_the_program_from_its_parent_and_the_delta(pool):
    rng = np.random.default_rng(0)
    deltas = [d for p in pool if (d := Delta.draw(p, rng, 20)) is not None][:60]
    none = [np.zeros(len(d.program.spans), dtype=bool) for d in deltas]
    matched, valid = corrupted_deltas(deltas, none, rng)
    assert len(deltas) == 60
    assert matched.all()
    assert valid.all()


def test_a_wrong_context_token_keeps_the_delta_from_applying(pool):
    rng = np.random.default_rng(0)
    deltas = [d for p in pool if (d := Delta.draw(p, rng, 20)) is not None and d.parts()[0].any()][:40]
    wrong = []
    for delta in deltas:
        errors = np.zeros(len(delta.program.spans), dtype=bool)
        errors[rng.choice(np.flatnonzero(delta.parts()[0]))] = True
        wrong.append(errors)
    matched, valid = corrupted_deltas(deltas, wrong, rng)
    assert not matched.any()
    assert not valid.any()


def test_one_bad_delta_does_not_stop_the_others():
    parent = "".join(f"line{i} = {i}\n" for i in range(8))
    diff = (
        "diff --git a/{0}.py b/{0}.py\n--- a/{0}.py\n+++ b/{0}.py\n@@ -9,9 +9,9 @@\n"
        " line2 = {1}\n line3 = 3\n+added = 1\n line4 = 4\n line5 = 5\n"
    )
    found = apply_deltas([parent] * 3, [diff.format(0, 2), diff.format(1, 99), diff.format(2, 2)])
    expected = parent.replace("line4", "added = 1\nline4")
    assert found == [expected, None, expected]


def test_deltas_apply_inside_another_repository(monkeypatch, tmp_path):
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    monkeypatch.setattr(programs.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / ".git"))
    test_one_bad_delta_does_not_stop_the_others()


def test_a_diff_that_git_cannot_read_is_an_error():
    with pytest.raises(InputError, match="git apply failed"):
        apply_deltas(["x\n"], ["no diff at all\n"])


def test_renaming_changes_local_variables_only():
    renamed = rename(Program.read(BLOCK), np.random.default_rng(0))
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


def test_renaming_nothing_changes_nothing():
    assert rename(Program.read(BLOCK), np.random.default_rng(0), 0.0) == BLOCK


def test_scattered_edits_change_that_many_tokens():
    program = Program.read(BLOCK)
    edited = scatter_edits(program, 5, np.random.default_rng(0))
    assert [f"edit{i}" in lexemes(edited) for i in range(6)] == [True] * 5 + [False]
    kept = re.split(r" edit\d ", edited)
    # What lies between the edits is the program's text, in order, and one token is missing at each edit.
    place = 0
    for i, part in enumerate(kept):
        start = BLOCK.index(part, place)
        assert i == 0 or BLOCK[place:start] in program.tokens()
        assert (i == 0) == (start == 0)
        place = start + len(part)
    assert place == len(BLOCK)


def test_the_filter_admits_what_is_new():
    found = NoveltyFilter()
    other = BLOCK.replace("Linear", "Conv2d").replace("step", "t").replace("layers", "convolutions")
    assert found.admit([BLOCK, other, BLOCK]) == [True, True, False]
    assert found.admit([other, "x = 1\n", "", ""]) == [False, True, True, False]


def test_sketches_agree_with_exact_similarity_and_vary_no_more_than_datasketch():
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


@pytest.mark.parametrize(("similarity", "admitted"), [(0.97, 0), (0.8, 1)])
def test_pairs_far_from_the_threshold_are_judged_rightly(similarity, admitted):
    rng = np.random.default_rng(0)
    pairs = [similar(similarity, 500, rng)[:2] for _ in range(100)]
    found = [NoveltyFilter().admit_shingles(pair) for pair in pairs]
    assert found == [[True, bool(admitted)]] * 100


def misjudged_far_from_the_threshold(sets):
    """Returns programs judged otherwise than by exact similarity, though that is 5 standard deviations from .9."""
    kept, found = [], []
    spread = 5 * np.sqrt(estimate_variance(0.9, 256))
    for i, (program, admitted) in enumerate(zip(sets, NoveltyFilter().admit_shingles(sets), strict=True)):
        nearest = max((jaccard(program, other) for other in kept), default=0.0)
        if (admitted and nearest > 0.9 + spread) or (not admitted and nearest < 0.9 - spread):
            found.append((i, nearest))
        if admitted:
            kept.append(program)
    assert kept
    return found


def test_the_filter_errs_on_real_programs_only_near_the_threshold(pool):
    rng = np.random.default_rng(0)
    sets = [shingles(lexemes(text), 10) for p in pool[:150] for text in (p.text, rename(p, rng, 0.1))]
    assert misjudged_far_from_the_threshold(sets) == []


@pytest.mark.parametrize("name", TEXTS)
def test_the_filter_reads_any_code(name):
    path, column = TEXTS[name]
    if not Path(path).exists():
        pytest.skip(f"{path} does not exist")
    texts = pd.read_parquet(path)[column].tolist()[:300]
    assert misjudged_far_from_the_threshold([shingles(lexemes(text), 10) for text in texts]) == []


def test_errors_of_the_filter_are_counted_against_exact_similarity():
    rng = np.random.default_rng(0)
    near = [similar(0.9, 400, rng)[:2] for _ in range(60)]
    sets = [side for pair in near for side in pair]
    exactly = similar(0.9, 400, rng)[2]
    false_admissions, false_rejections, kept = filter_errors(sets)
    # Nothing but the pairs is similar at all, so each second program is judged against its first alone.
    assert kept == (60 + false_admissions if exactly >= 0.9 else 120 - false_rejections)


def test_deltas_and_full_programs_follow_the_models_that_know_context_and_breaking_share(pool):
    found = programs.demonstrate_delta_validity(np.random.default_rng(0), programs=15)
    rows = [r for r in found.rows if r["quantity"].endswith("context and breaking share")]
    assert len(rows) == 6
    for row in rows:
        predicted, measured = row["predicted"], row["measured"]
        assert predicted is not None
        assert measured is not None
        # Four standard errors, those of the breaking share included.
        assert abs(measured - predicted) < 4 * np.sqrt(max(predicted * (1 - predicted), 0.05) / row["n"]) + 0.1
    assert set(found.series) == {"predicted", "published model", "full programs", "measured"}
    assert all(len(curve["x"]) == len(curve["y"]) for curve in found.series.values())


def test_what_evades_the_filter_is_measured(pool):
    found = programs.demonstrate_novelty(np.random.default_rng(0), programs=20, filtered=60)
    rates = [r["measured"] for r in found.rows if r["quantity"].startswith("admitted by the filter after")]
    assert all(rate is not None and 0 <= rate <= 1 for rate in rates)
    measured = found.series["mean J, measured"]
    assert measured["y"] == sorted(measured["y"], reverse=True)
    assert all(low <= y <= high for y, low, high in zip(measured["y"], measured["low"], measured["high"], strict=True))


def test_core_import_needs_no_torch():
    code = "import sys, analysis.programs; sys.exit('torch' in sys.modules or 'vllm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
