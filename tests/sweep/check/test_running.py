"""An error of a part becomes one line that names the part's own code, wherever it was raised."""

import pytest
import torch

import pruners
from sweep.check.running import digest, fault, listed, one_line
from sweep.trial.run import one_thread


def caught(action):
    try:
        action()
    except Exception as error:
        return fault(error, "part.py:1 name")
    raise AssertionError("no error")


def test_the_innermost_line_of_the_parts_own_code_is_named(net_g):
    def own(probe):
        return torch.ones(2) @ torch.ones(3)

    text = caught(lambda: pruners.saliency(own, *net_g))
    line = own.__code__.co_firstlineno + 1
    assert text.startswith(f"tests/sweep/check/test_running.py:{line} own: RuntimeError: ")


def test_an_error_that_pruners_passes_on_is_told_as_it_was_raised(net_g):
    def own(probe):
        raise ValueError("too\nsmall")

    assert caught(lambda: pruners.saliency(own, *net_g)).endswith("own: ValueError: too small")


def test_without_a_line_of_its_own_the_part_itself_is_named():
    code = compile("1 / 0", "<part>", "exec")
    try:
        eval(code)
    except ZeroDivisionError as error:
        error.__traceback__ = error.__traceback__.tb_next
        assert fault(error, "part.py:1 name") == "part.py:1 name: ZeroDivisionError: division by zero"


def test_long_texts_and_lists_are_cut():
    assert one_line("a\n b") == "a b" and len(one_line("a" * 900)) == 300
    assert listed(list("abc"), 2) == "a, b and 1 more" and listed(list("ab"), 2) == "a, b"


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.bool, torch.int64])
def test_a_digest_is_of_bytes_types_and_shapes(kind):
    ones = torch.ones(2, 3).to(kind)
    assert digest([ones]) == digest([ones.clone().t().contiguous().t()]) != digest([ones.t()])
    assert digest([ones]) != digest([ones.to(torch.float64)]) != digest([torch.zeros(2, 3).to(kind)])


def test_the_number_of_threads_comes_back():
    before = torch.get_num_threads()
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
