import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.categoricals import Categoricals
from bench.effects import Prompt, Sampling, Tune
from surrogates.errors import InputError
from surrogates.spaces import spaces
from theory.families import Product

PROMPT = Prompt("cross_entropy")
CELLS = spaces.get("nas_bench_201")
RESTRICTED = spaces.get("nas_bench_graph")
FAMILY = Product(CELLS.enumerate(), 5)


@pytest.fixture(scope="module")
def cells():
    return Categoricals(CELLS)


@pytest.fixture(scope="module")
def restricted():
    return Categoricals(RESTRICTED)


def texts(space, rows):
    return [space.format(tuple(arch)) for arch in space.enumerate()[rows].tolist()]


def draw_rows(space, count, seed=0):
    return np.random.default_rng(seed).integers(space.size, size=count)


def tuned(generator, out, effect, state=None):
    answer = generator.tune(state, effect, "", 0, out)
    assert answer.failure is None
    return answer


def probabilities(generator, state, sampling=Sampling()):
    found = generator.distribution(state, "", sampling)
    return np.exp(found.log_p), np.exp(found.sampled)


def restricted_product(theta, power=1.0):
    """Returns the product over decisions, normalised over the architectures that exist."""
    archs = RESTRICTED.enumerate()
    p = np.prod([theta[i, archs[:, i]] ** power for i in range(archs.shape[1])], axis=0)
    return p / p.sum()


def test_the_untuned_generator_is_uniform(cells):
    for p in probabilities(cells, None):
        np.testing.assert_allclose(p, 1 / 15625, rtol=1e-9)


def test_a_decision_counts_as_a_token_and_nothing_is_read(cells):
    found = cells.distribution(None, "a prompt", Sampling())
    assert found.prompt_tokens == 0
    assert found.text_tokens.tolist() == [6] * 15625


@given(st.lists(st.tuples(st.integers(0, CELLS.size - 1), st.floats(0.01, 100)), min_size=1, max_size=30))
def test_tuning_is_the_projection_of_the_corpus(tmp_path_factory, cells, corpus):
    rows, weights = np.array([row for row, _ in corpus]), [weight for _, weight in corpus]
    out = tmp_path_factory.mktemp("state") / "new"
    tuned(cells, out, Tune(texts(CELLS, rows), PROMPT, weights))
    target = np.bincount(rows, weights, minlength=CELLS.size) / sum(weights)
    expected = FAMILY.probabilities(FAMILY.project(target, FAMILY.random(np.random.default_rng(0), 1)))
    np.testing.assert_allclose(probabilities(cells, out)[0], np.broadcast_to(expected, (1, CELLS.size))[0], atol=1e-12)


def test_frequencies_are_those_counted_by_hand(cells, tmp_path):
    corpus = [(0, 1, 2, 3, 4, 0), (0, 1, 2, 3, 4, 1), (0, 2, 2, 3, 4, 1), (1, 2, 2, 3, 4, 1)]
    tuned(cells, tmp_path / "s", Tune([CELLS.format(arch) for arch in corpus], PROMPT))
    p, _ = probabilities(cells, tmp_path / "s")
    found = dict(zip(map(tuple, CELLS.enumerate().tolist()), p.tolist(), strict=True))
    assert found[0, 1, 2, 3, 4, 0] == pytest.approx(3 / 4 * 1 / 2 * 1 / 4)
    assert found[1, 1, 2, 3, 4, 1] == pytest.approx(1 / 4 * 1 / 2 * 3 / 4)
    assert found[0, 1, 2, 3, 3, 0] == 0
    assert np.count_nonzero(p) == 2**3


def test_a_weight_counts_like_repetitions(cells, tmp_path):
    few, many = texts(CELLS, [10, 2000, 9999]), texts(CELLS, [10, 10, 10, 2000, 9999, 9999])
    tuned(cells, tmp_path / "a", Tune(few, PROMPT, [3, 1, 2]))
    tuned(cells, tmp_path / "b", Tune(many, PROMPT))
    tuned(cells, tmp_path / "c", Tune(few, PROMPT, [0.03, 0.01, 0.02]))
    a, b, c = (probabilities(cells, tmp_path / name)[0] for name in "abc")
    np.testing.assert_allclose(a, b, atol=1e-15)
    np.testing.assert_allclose(a, c, atol=1e-15)


def test_a_text_of_weight_zero_does_not_count(cells, tmp_path):
    corpus = texts(CELLS, [0, 15624, 7])
    with_it = tuned(cells, tmp_path / "a", Tune(corpus, PROMPT, [1, 0, 2]))
    without = tuned(cells, tmp_path / "b", Tune([corpus[0], corpus[2]], PROMPT, [1, 2]))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert with_it.losses == pytest.approx(without.losses)


def test_losses_and_held_out_likelihoods_are_those_before_and_after(cells, tmp_path):
    rows, weights = draw_rows(CELLS, 6), np.arange(1, 7)
    held_out = texts(CELLS, rows[3:])
    answer = tuned(cells, tmp_path / "s", Tune(texts(CELLS, rows), PROMPT, weights.tolist(), held_out))
    after, _ = probabilities(cells, tmp_path / "s")
    uniform, share = -np.log(15625), weights / weights.sum()
    assert answer.losses == pytest.approx([-uniform, -(share @ np.log(after[rows]))])
    assert [b for b, _ in answer.held_out] == pytest.approx([uniform] * 3)
    assert [a for _, a in answer.held_out] == pytest.approx(np.log(after[rows[3:]]).tolist())


def test_a_step_that_makes_held_out_texts_less_likely_on_the_mean_leaves_no_file(cells, tmp_path):
    corpus = [(0, 0, 0, 0, 0, 0), (1, 1, 1, 1, 1, 1)]  # a cell of both has 2^-6, any other none
    inside, outside = (0, 1, 0, 1, 0, 1), (0, 1, 0, 1, 0, 2)
    for held_out, said in (([inside], None), ([inside, outside], "less likely"), ([outside], "less likely")):
        effect = Tune([CELLS.format(a) for a in corpus], PROMPT, held_out=[CELLS.format(a) for a in held_out])
        answer = cells.tune(None, effect, "", 0, tmp_path / "new")
        assert (answer.failure or "").count(said or "nothing") == (said is not None)
        assert (tmp_path / "new").exists() == (said is None)
        (tmp_path / "new").unlink(missing_ok=True)
        expected = {inside: 6 * np.log(0.5), outside: -np.inf}
        assert [after for _, after in answer.held_out] == pytest.approx([expected[arch] for arch in held_out])


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9])
def test_smoothing_keeps_a_share_of_the_old_parameters(cells, tmp_path, keep):
    first, second = draw_rows(CELLS, 9, 1), draw_rows(CELLS, 7, 2)
    tuned(cells, tmp_path / "old", Tune(texts(CELLS, first), PROMPT))
    tuned(cells, tmp_path / "new", Tune(texts(CELLS, second), PROMPT, keep=keep), tmp_path / "old")
    old, new = (FAMILY.project(np.bincount(rows, minlength=CELLS.size) / len(rows), ())[0] for rows in (first, second))
    expected = FAMILY.probabilities((keep * old + (1 - keep) * new,))
    np.testing.assert_allclose(probabilities(cells, tmp_path / "new")[0], expected, atol=1e-12)


def test_smoothing_anew_keeps_a_share_of_the_uniform_parameters(cells, tmp_path):
    rows = draw_rows(CELLS, 7)
    tuned(cells, tmp_path / "old", Tune(texts(CELLS, [5]), PROMPT))
    for name, state in (("a", tmp_path / "old"), ("b", None)):
        tuned(cells, tmp_path / name, Tune(texts(CELLS, rows), PROMPT, keep=0.5, anew=True), state)
    (new,) = FAMILY.project(np.bincount(rows, minlength=CELLS.size) / len(rows), ())
    expected = FAMILY.probabilities((0.5 * new + 0.5 / 5,))
    for name in "ab":
        np.testing.assert_allclose(probabilities(cells, tmp_path / name)[0], expected, atol=1e-12)


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ([], "corpus is empty"),
        ([0, 0], "not all 0"),
        ([1, -1], "at least 0"),
        ([1, float("nan")], "finite"),
        ([1, float("inf")], "finite"),
    ],
)
def test_a_corpus_without_weight_is_a_failure_and_leaves_no_file(cells, tmp_path, weights, said):
    answer = cells.tune(None, Tune(texts(CELLS, [1, 2])[: len(weights)], PROMPT, weights), "", 0, tmp_path / "new")
    assert said in answer.failure
    assert answer.held_out == ()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "effect",
    [Tune(["|nothing~0|"], PROMPT), Tune(texts(CELLS, [1]), PROMPT, held_out=["|nothing~0|"])],
    ids=["texts", "held_out"],
)
def test_a_text_outside_the_space_is_an_error_and_leaves_no_file(cells, tmp_path, effect):
    with pytest.raises(InputError, match="nothing~0"):
        cells.tune(None, effect, "", 0, tmp_path / "new")
    assert not list(tmp_path.iterdir())


def test_temperature_top_k_and_top_p_act_on_each_decision(cells, tmp_path):
    corpus = [(0, 1, 2, 3, 4, 0)] * 5 + [(1, 1, 2, 3, 4, 1)] * 3 + [(2, 1, 2, 3, 4, 2)] * 2
    tuned(cells, tmp_path / "s", Tune([CELLS.format(arch) for arch in corpus], PROMPT))
    shares = np.array([0.5, 0.3, 0.2])
    warm = shares**0.5 / (shares**0.5).sum()
    for sampling, expected in (
        (Sampling(temperature=2), warm),
        (Sampling(top_k=2), [5 / 8, 3 / 8, 0]),
        (Sampling(top_p=0.7), [5 / 8, 3 / 8, 0]),
        (Sampling(temperature=0), [1, 0, 0]),
    ):
        p, sampled = probabilities(cells, tmp_path / "s", sampling)
        np.testing.assert_allclose(p, probabilities(cells, tmp_path / "s")[0])  # the generator itself stays
        assert sampled.sum() == pytest.approx(1)
        found = sampled.reshape((5,) * 6)[:3, 1, 2, 3, 4, :3]
        np.testing.assert_allclose(found, np.outer(expected, expected), atol=1e-12)


@given(rows=st.lists(st.integers(0, RESTRICTED.size - 1), min_size=1, max_size=20), keep=st.sampled_from([0, 0.4]))
def test_in_a_restricted_space_the_product_is_normalised(tmp_path_factory, restricted, rows, keep):
    out = tmp_path_factory.mktemp("state") / "new"
    tuned(restricted, out, Tune(texts(RESTRICTED, rows), PROMPT, keep=keep))
    archs = RESTRICTED.enumerate()
    theta = np.zeros((archs.shape[1], 9))
    for i, values in enumerate(archs.T):
        own = np.bincount(archs[rows, i], minlength=9) / len(rows)
        theta[i] = (1 - keep) * own + keep * (np.arange(9) <= values.max()) / (values.max() + 1)
    p, sampled = probabilities(restricted, out, Sampling(temperature=2.5))
    assert p.sum() == pytest.approx(1)
    np.testing.assert_allclose(p, restricted_product(theta), atol=1e-12)
    np.testing.assert_allclose(sampled, restricted_product(theta, 1 / 2.5), atol=1e-12)


def likeliest(archs):
    """Returns the value that each decision has most often, the first of equals."""
    return tuple(int(np.bincount(column).argmax()) for column in archs.T)


def test_where_the_likeliest_decisions_are_no_architecture_greedy_draws_are_refused(restricted, tmp_path):
    archs = RESTRICTED.enumerate()
    corpora = (np.random.default_rng(seed).integers(RESTRICTED.size, size=3) for seed in range(100))
    rows = next(rows for rows in corpora if likeliest(archs[rows]) not in map(tuple, archs.tolist()))
    tuned(restricted, tmp_path / "s", Tune(texts(RESTRICTED, rows), PROMPT))
    with pytest.raises(InputError, match="leave no architecture of nas_bench_graph"):
        restricted.distribution(tmp_path / "s", "", Sampling(temperature=0))
