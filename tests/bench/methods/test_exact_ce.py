from bench.methods import methods


def test_it_differs_from_the_published_method_where_the_theorem_needs_it_alone():
    published, exact = (methods.get(name).parameters for name in ("cross_entropy", "exact_ce"))
    needed = {
        # The corpus is a sample of p_t given E, and E stays; a part of the sample certifies the progress.
        "corpus": "current_elites",
        "elite": "first_share",
        "novelty": "off",
        "held_out": exact["held_out"],
        # Candidates are drawn from p_t itself.
        "temperature": 1.0,
        "top_k": 0,
        "top_p": 1.0,
        # The likelihood that is maximised is that of p_t, by steps on all of the corpus.
        "likelihood": "constrained",
        "dropout": 0.0,
        "batch": 0,
        "learning_rate": exact["learning_rate"],
        "epochs": exact["epochs"],
    }
    assert exact == published | needed
    assert isinstance(exact["held_out"], float)
    assert 0.1 < exact["held_out"] < 0.5


def test_it_draws_from_the_generator_itself_and_tunes_on_a_sample_of_it_given_the_elites(play_tuned):
    played = play_tuned("exact_ce", 12)
    assert played.kinds == ["Ask", "Evaluate", "Tune"] * 4
    assert {(ask.sampling.temperature, ask.sampling.top_p, ask.sampling.top_k) for ask in played.asks} == {(1, 1, 0)}
    share = methods.get("exact_ce").parameters["held_out"]
    assert isinstance(share, float)
    threshold = sorted((score for _, score in played.results[0]), reverse=True)[round(0.25 * 50) - 1]
    for results, tune in zip(played.results, played.tunes, strict=True):
        elites = [text for text, score in results if score >= threshold]
        assert [*tune.texts, *tune.held_out] == elites  # repetitions included
        assert len(tune.held_out) == int(share * len(elites)) > 0
        assert tune.weights is None
        assert tune.tuning.likelihood == "constrained"


def test_its_control_is_the_same_without_a_language_model():
    exact = methods.get("exact_ce")
    assert exact.control == "eda"
    assert exact.prompts == ("cross_entropy",)
    assert exact.tunes
