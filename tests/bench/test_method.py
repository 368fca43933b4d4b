import pytest

from bench.methods import methods
from surrogates.errors import InputError


def test_parameters_are_completed_from_the_defaults():
    method = methods.get("regularized_evolution")
    assert method.complete({"population": 20}) == {"population": 20, "tournament": 5}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"populaton": 3}, "did you mean 'population'"),
        ({"population": "many"}, "must be a valid integer, it is 'many'"),
        ({"population": True}, "int"),
    ],
)
def test_wrong_parameters_are_named(given, message):
    with pytest.raises(InputError, match=message):
        methods.get("regularized_evolution").complete(given, "study.toml")


def test_an_integer_serves_where_a_float_is_the_default():
    assert methods.get("genius").complete({"temperature": 1})["temperature"] == 1


def test_an_unknown_method_gets_the_nearest_name():
    with pytest.raises(InputError, match="did you mean 'random_search'"):
        methods.get("random_serch")
