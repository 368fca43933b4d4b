from theory.demonstration import share


def test_a_share_breaks_only_when_its_interval_lies_outside_what_is_allowed():
    found = [True] * 8 + [False] * 92
    assert share("rejected", found, 0.05, (0.035, 0.065))["verdict"] == "holds"
    assert share("rejected", found * 20, 0.05, (0.035, 0.065))["verdict"] == "breaks"
    assert share("rejected", found)["verdict"] == "measured"


def test_one_exception_breaks_what_has_none():
    assert share("exceptions", [False] * 999 + [True], 0.0)["verdict"] == "breaks"
    assert share("exceptions", [False] * 1000, 0.0)["verdict"] == "holds"


def test_the_row_carries_share_interval_and_n():
    row = share("share", [True, False, True, True], 0.5)
    assert (row["measured"], row["n"], row["predicted"]) == (0.75, 4, 0.5)
    assert row["interval"] is not None
    assert row["interval"][0] < 0.75 < row["interval"][1]
