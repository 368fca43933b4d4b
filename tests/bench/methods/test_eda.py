from bench.methods import methods


def test_it_is_exact_ce_without_a_language_model(play_tuned):
    eda, exact = methods.get("eda"), methods.get("exact_ce")
    # It needs no certificate: its update is the projection itself.
    assert eda.parameters == exact.parameters | {"held_out": 0.0}
    assert eda.tunes
    assert not eda.prompts
    assert not eda.control
    assert "categoricals" in eda.summary
    assert play_tuned("eda", 9).effects == play_tuned("exact_ce", 9, held_out=0.0).effects


def test_it_is_the_control_of_the_methods_that_tune_a_language_model():
    tuning = [m for m in map(methods.get, methods.names()) if m.tunes and m.prompts]
    assert {m.control for m in tuning} == {"eda"}
