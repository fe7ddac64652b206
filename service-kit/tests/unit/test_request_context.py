"""Facts that follow a request."""

import asyncio

import pytest

from service_kit import request_context
from service_kit.errors import Unauthenticated
from service_kit.ids import is_uuid, new_id
from service_kit.request_context import Caller, begin_request, remaining_seconds


@pytest.mark.parametrize("offered", ["a", "req-1.2_3", "A" * 64])
def test_offered_id_is_kept(offered):
    """A caller that names its request finds it under that name."""
    assert begin_request(offered) == offered
    assert request_context.request_id() == offered


@pytest.mark.parametrize("offered", [None, "", "A" * 65, "a b", "a\nb", "é", "a/b", 'a"b', "a\n"])
def test_odd_id_is_replaced(offered):
    """An id that could upset a log or a header is not taken over."""
    assert is_uuid(begin_request(offered))


def test_time_left_is_shorter_than_the_callers():
    """There is time to answer before the caller gives up, and never less than none."""
    begin_request(seconds=2.0)
    assert 1.5 < remaining_seconds() <= 1.95

    begin_request(seconds=0.01)
    assert remaining_seconds() == 0.0

    begin_request()
    assert remaining_seconds() is None


def test_nobody_is_not_somebody():
    """Code that needs a caller fails where there is none."""
    begin_request()
    with pytest.raises(Unauthenticated):
        request_context.caller()
    assert request_context.find_caller() is None


async def test_requests_do_not_see_each_other():
    """What one task knows of its request, another does not."""

    async def one(name):
        begin_request(name)
        request_context.current_caller.set(Caller(name, "person", "user"))
        await asyncio.sleep(0)
        return request_context.request_id(), request_context.caller().user_id

    found = await asyncio.gather(*[one(f"r{number}") for number in range(50)])

    assert found == [(f"r{number}", f"r{number}") for number in range(50)]


def test_new_request_forgets_the_last_one():
    """A connection's task that serves two requests does not mix them up."""
    begin_request("r1", seconds=1)
    request_context.current_caller.set(Caller("u1", "person", "user"))
    begin_request("r2")

    assert request_context.find_caller() is None
    assert remaining_seconds() is None


def test_ids_sort_by_age():
    """Ids are UUIDs, and later ones are greater."""
    made = [new_id() for _ in range(1000)]

    assert all(is_uuid(one) for one in made)
    assert sorted(made) == made
    assert len(set(made)) == 1000


@pytest.mark.parametrize(
    "text", ["", "x", "0198C7B0-0000-7000-8000-000000000000", "{0}", "0198c7b000007000800000000000"]
)
def test_only_the_written_form_is_an_id(text):
    """One id has one spelling."""
    assert not is_uuid(text)
