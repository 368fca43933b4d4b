import pytest
import torch

from theory.one_thread import one_thread


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield torch.get_num_threads
    torch.set_num_threads(before)


def test_torch_has_one_thread_inside_and_as_many_as_before_outside(threads):
    with one_thread():
        assert threads() == 1
    assert threads() == 2


def test_threads_come_back_after_an_error(threads):
    with pytest.raises(ZeroDivisionError), one_thread():
        _ = 1 / 0
    assert threads() == 2


def test_each_call_of_a_decorated_function_has_one_thread(threads):
    counted = one_thread()(threads)
    assert [counted(), counted(), threads()] == [1, 1, 2]
