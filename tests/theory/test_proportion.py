import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from theory.proportion import proportion_interval


@given(n=st.integers(1, 200), share=st.floats(0, 1))
def test_the_interval_is_clopper_and_pearsons(n, share):
    k = round(share * n)
    expected = stats.binomtest(k, n).proportion_ci(method="exact")
    assert proportion_interval(k, n) == pytest.approx((expected.low, expected.high))
