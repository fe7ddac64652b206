"""Limits, in real Redis and without it."""

import asyncio

import pytest

from ..stand_ins import USER_ID, api_key

ME = "/api/v1/auth/me"
LOGIN = {"username": "ada", "password": "x"}


async def test_caller_is_limited(serve, redis_url, script, person, issuer):
    """Exactly so many requests a minute, with headers that say where one stands."""
    async with (
        serve(redis_url=redis_url, rate_limit_per_minute=5) as served,
        served.client() as http,
    ):
        answers = [await http.get(ME, headers=person) for _ in range(7)]
        other = await http.get(
            ME, headers={"authorization": f"Bearer {issuer.person_token('other')}"}
        )
        under_v1 = await http.get("/v1/models", headers=person)

    assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2
    assert answers[0].headers["ratelimit-policy"] == '"caller";q=5;w=60'
    assert answers[0].headers["ratelimit"].startswith('"caller";r=4;t=')
    assert answers[6].json()["title"] == "RATE_LIMITED"
    assert 1 <= int(answers[6].headers["retry-after"]) <= 60
    assert answers[6].headers["ratelimit"].startswith('"caller";r=0;t=')
    assert other.status_code == 200
    assert under_v1.json()["error"]["code"] == "rate_limit_exceeded"


async def test_replicas_count_together(serve, redis_url, script, person):
    """Two gateways and one Redis are one limit."""
    async with (
        serve(redis_url=redis_url, rate_limit_per_minute=10) as one,
        serve(redis_url=redis_url, rate_limit_per_minute=10) as two,
        one.client() as first,
        two.client() as second,
    ):
        answers = [
            await client.get(ME, headers=person) for _ in range(10) for client in (first, second)
        ]

    assert sum(answer.status_code == 200 for answer in answers) == 10


async def test_login_is_limited_by_address(serve, redis_url, script):
    """No header of the client changes whose requests they are (X-H6)."""
    async with (
        serve(redis_url=redis_url, auth_rate_limit_per_minute=5) as served,
        served.client() as http,
    ):
        answers = [
            await http.post(
                "/api/v1/auth/login",
                json=LOGIN,
                headers={
                    "x-forwarded-for": f"9.9.9.{number}",
                    "forwarded": f"for=9.9.9.{number}",
                    "x-real-ip": f"9.9.9.{number}",
                },
            )
            for number in range(7)
        ]

    assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2
    assert len(script.of("Login")) == 5


async def test_clients_behind_our_proxy_are_told_apart(serve, redis_url, script):
    """Behind a trusted proxy, the hop it wrote is the client."""
    async with (
        serve(
            redis_url=redis_url, auth_rate_limit_per_minute=1, trusted_proxies="127.0.0.0/8"
        ) as served,
        served.client() as http,
    ):

        async def log_in(forwarded):
            answer = await http.post(
                "/api/v1/auth/login", json=LOGIN, headers={"x-forwarded-for": forwarded}
            )
            return answer.status_code

        assert await log_in("1.1.1.1") == 200
        assert await log_in("2.2.2.2") == 200
        assert await log_in("9.9.9.9, 1.1.1.1") == 429


@pytest.mark.parametrize("redis", ["redis://127.0.0.1:9/0", "redis://10.255.255.1:6379/0"])
async def test_without_redis_it_counts_here(serve, script, person, redis):
    """Redis away, or not even answering: still limited, quickly, and never a 500 (X-R14)."""
    loop = asyncio.get_running_loop()
    async with (
        serve(redis_url=redis, rate_limit_per_minute=5) as served,
        served.client() as http,
    ):
        started = loop.time()
        answers = [await http.get(ME, headers=person) for _ in range(7)]
        seconds = loop.time() - started
        metrics = await http.get("/metrics")

    assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2
    assert seconds < 2
    assert "gateway_rates_counted_locally_total 7.0" in metrics.text


async def test_keys_of_one_person_are_limited_apart(serve, redis_url, script, issuer):
    """A program that runs wild does not lock its owner out."""
    async with (
        serve(redis_url=redis_url, rate_limit_per_minute=2) as served,
        served.client() as http,
    ):
        for _ in range(3):
            wild = await http.get("/v1/models", headers={"x-api-key": api_key()})
        owner = await http.get(
            "/v1/models", headers={"authorization": f"Bearer {issuer.person_token(USER_ID)}"}
        )

    assert (wild.status_code, owner.status_code) == (429, 200)
