"""The price book: loaded from its file, added to by administrators, changed by nobody."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from typer.testing import CliRunner

from cost_service.__main__ import app
from cost_service.adapters.yaml_price_file import read_price_file
from cost_service.bootstrap import shipped_prices
from cost_service.domain.errors import (
    IdempotencyKeyReused,
    PriceVersionExists,
    PriceVersionNotFound,
)
from cost_service.domain.prices import NewPriceVersion, Price
from cost_service.usecases.add_price_version import AddPriceVersion
from cost_service.usecases.get_price_version import GetPriceVersion
from cost_service.usecases.list_price_versions import ListPriceVersions
from cost_service.usecases.load_prices import LoadPrices
from service_kit.errors import InvalidArgument, PermissionDenied

from .conftest import ADMIN, OWNER

LATER = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
PRICES = (Price("local", "*", 1, 2), Price("yotta", "big", 3, 4))


def a_version(price_version="2", valid_from=LATER, prices=PRICES, note="why"):
    return NewPriceVersion(price_version, valid_from, note, prices)


@pytest.fixture
def add(money):
    """Add a version as an administrator."""
    use_case = AddPriceVersion(money.work)

    async def call(version, request_id="r1", caller=ADMIN):
        return await use_case(caller, request_id, version)

    return call


@pytest.fixture
def load(money):
    return LoadPrices(money.work)


async def current(money):
    async with money.work() as work:
        return (await work.prices.current()).price_version


class TestLoading:
    async def test_shipped_file_is_what_a_fresh_install_has(self, load):
        """D1: `migrate` loaded it, so loading it again changes nothing."""
        loaded = await load(read_price_file(shipped_prices()))

        assert [(one.price_version, one.added, one.refused) for one in loaded] == [("1", False, ())]

    async def test_new_version_is_added_with_its_changes(self, money, load):
        """What is new is stored, told with what it changes, and audited."""
        first = read_price_file(shipped_prices())

        others = [price for price in first[0].prices if price.target != "local"]

        loaded = await load([*first, a_version(prices=(*others, PRICES[0]))])

        assert (loaded[1].added, loaded[1].replaces, loaded[1].lost) == (True, "1", ())
        assert loaded[1].changes == (
            "local *: 1000 in, 1000 out -> 0.000000001 in, 0.000000002 out",
        )
        assert await money.value("SELECT count(*) FROM prices WHERE price_version = '2'") == 8
        audited = await money.row("SELECT action, actor, subject FROM audit_entries")
        assert tuple(audited) == ("price_version.loaded", "operator", "price version 2")

    async def test_dry_run_changes_nothing(self, money, load):
        """A dry run tells the same and stores nothing."""
        loaded = await load([a_version()], dry_run=True)

        assert loaded[0].added
        assert await money.value("SELECT count(*) FROM price_versions") == 1

    async def test_lost_prices_are_told(self, load):
        """A file with one version alone is compared with what is stored, not with nothing."""
        only_local = Price("local", "*", 240_000_000, 240_000_000)
        model = Price("anthropic", "claude-sonnet-4", 3, 15)

        loaded = await load([a_version(prices=(only_local, model))], dry_run=True)

        assert loaded[0].replaces == "1"
        assert "local *: 1000 in, 1000 out -> 0.24 in, 0.24 out" in loaded[0].changes
        assert "yotta *: 10000 in, 10000 out -> no price" in loaded[0].changes
        lost = [price.key for price in loaded[0].lost]
        assert ("yotta", "*") in lost
        assert ("anthropic", "claude-haiku-4.5") in lost
        assert not {("local", "*"), model.key} & set(lost)

    async def test_each_new_version_is_compared_with_the_one_until_it(self, load):
        """Stored or new in the file: the latest before its own moment."""
        first, second = a_version("2"), a_version("3", LATER + timedelta(days=1), PRICES[:1])

        loaded = await load([first, second, a_version("4", LATER + timedelta(days=2))])

        assert [one.replaces for one in loaded] == ["1", "2", "3"]
        assert loaded[2].lost == ()

    async def test_changed_version_is_refused_with_everything_else(self, money, load):
        """A stored version never changes: its difference is told, and nothing is loaded."""
        loaded = await load([a_version("1"), a_version("2")])

        assert "local *: 1000 in, 1000 out -> 0.000000001 in, 0.000000002 out" in loaded[0].refused
        assert "another note" in loaded[0].refused
        assert await money.value("SELECT count(*) FROM price_versions") == 1

    async def test_several_starts_at_once_load_once(self, money, load):
        """Replicas that load the same file at the same time all succeed."""
        await asyncio.gather(*(load([a_version()]) for _ in range(8)))

        assert await money.value("SELECT count(*) FROM price_versions") == 2
        assert await money.value("SELECT count(*) FROM audit_entries") == 1

    async def test_moment_of_another_version_is_refused(self, load):
        """Two versions can't become valid at one moment."""
        await load([a_version()])

        with pytest.raises(PriceVersionExists):
            await load([a_version("3")])


class TestCommand:
    @pytest.fixture
    def command(self, database, tmp_path):
        async def run(text, *arguments):
            file = tmp_path / "prices.yaml"
            file.write_text(text)
            return await asyncio.to_thread(
                CliRunner().invoke,
                app,
                ["load-prices", str(file), *arguments],
                env={"DATABASE_URL": database},
            )

        return run

    async def test_file_is_loaded_after_a_dry_run(self, money, command):
        """--dry-run shows what would be added; without it, it is. A bad file names its line."""
        text = (
            'versions:\n  - {price_version: "2", valid_from: 2025-06-01T00:00:00Z, note: "",\n'
            '     prices: [{target: local, model: "*", input_usd: 5, output_usd: 6}]}\n'
        )

        dry = await command(text, "--dry-run")
        done = await command(text)
        changed = await command(text.replace("input_usd: 5", "input_usd: 7"))
        bad = await command(text.replace("input_usd: 5", "input_usd: -5"))

        assert dry.exit_code == 0, dry.output
        assert "version 2: would be added, compared with version 1\n" in dry.output
        assert "  local *: 1000 in, 1000 out -> 5 in, 6 out\n" in dry.output
        assert "  WARNING: anthropic claude-haiku-4.5, " in dry.output
        assert "yotta * lose their price, and so get no work\n" in dry.output
        assert (done.exit_code, await current(money)) == (0, "2")
        assert changed.exit_code == 1
        assert "  stored local *: 5 in, 6 out -> 7 in, 6 out in the file" in changed.output
        assert bad.exit_code == 2
        assert "line 3: '-5' is no price" in bad.output


class TestAdding:
    async def test_version_is_valid_at_once_without_a_moment(self, money, add):
        """Without `valid_from` new work is priced with it from now on."""
        added = (await add(a_version(valid_from=None))).version

        assert added.is_current
        assert added.prices == PRICES
        assert await current(money) == "2"

    async def test_later_version_waits_for_its_moment(self, money, add):
        """A version with a moment to come is listed and not yet used."""
        added = (await add(a_version())).version

        assert (added.is_current, added.valid_from) == (False, LATER)
        assert await current(money) == "1"

    async def test_lost_prices_are_in_the_answer(self, add):
        """Whoever forgets a target learns it from the answer, and from its repetition."""
        first = await add(a_version(prices=PRICES[:1]))
        again = await add(a_version(prices=PRICES[:1]))
        whole = await add(a_version("3", LATER + timedelta(days=1)), "r2")

        assert ("yotta", "*") in [price.key for price in first.lost]
        assert again == first
        assert whole.lost == ()

    async def test_only_administrators_add(self, money, add):
        """Everybody else is refused, before anything is looked at."""
        with pytest.raises(PermissionDenied):
            await add(a_version(), caller=OWNER)

        assert await money.value("SELECT count(*) FROM price_versions") == 1

    async def test_the_past_is_refused(self, add):
        """What was agreed was agreed at the prices of then."""
        with pytest.raises(InvalidArgument) as refused:
            await add(a_version(valid_from=datetime.now(UTC) - timedelta(minutes=1)))

        assert refused.value.metadata["field"] == "valid_from"

    async def test_same_request_adds_once(self, money, add):
        """Sent ten times at once: one version, one audit entry, ten equal answers."""
        answers = await asyncio.gather(*(add(a_version()) for _ in range(10)))

        assert len(set(answers)) == 1
        assert await money.value("SELECT count(*) FROM audit_entries") == 1

    async def test_request_id_of_something_else_is_refused(self, add):
        """The same id with other prices is a mistake, not a repetition."""
        await add(a_version())

        with pytest.raises(IdempotencyKeyReused):
            await add(a_version(prices=PRICES[:1]))

    @pytest.mark.parametrize("version", [a_version("2", LATER + timedelta(days=1)), a_version("3")])
    async def test_taken_name_or_moment_is_refused(self, add, version):
        """A second version of one name, or of one moment, is refused."""
        await add(a_version())

        with pytest.raises(PriceVersionExists):
            await add(version, "r2")

    async def test_addition_is_audited(self, money, add):
        """Who added what is kept."""
        await add(a_version())

        row = await money.row("SELECT action, actor, subject FROM audit_entries")
        assert tuple(row) == ("price_version.added", "user:admin-1", "price version 2")


class TestShowing:
    async def test_versions_are_listed_by_pages(self, money, add):
        """Latest first, each once, and the current one says so."""
        for number in range(2, 5):
            await add(a_version(str(number), LATER + timedelta(days=number)), f"r{number}")
        listing = ListPriceVersions(money.work)

        first, token = await listing(3, "")
        rest, end = await listing(3, token)

        assert [one.price_version for one in (*first, *rest)] == ["4", "3", "2", "1"]
        assert [one.price_version for one in (*first, *rest) if one.is_current] == ["1"]
        assert end == ""

    async def test_one_version_is_shown(self, money, add):
        """By its name, or the current one; an unknown name is told so."""
        await add(a_version())
        show = GetPriceVersion(money.work)

        assert (await show("2")).prices == PRICES
        assert (await show("")).price_version == "1"
        with pytest.raises(PriceVersionNotFound):
            await show("9")


async def test_version_is_whole_once_it_is_there(money):
    """The service's role can't slip a price into a version that is stored."""
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="is complete"):
        await money.connection.execute("INSERT INTO prices VALUES ('1', 'local', 'new', 1, 1)")


async def test_held_work_keeps_its_price(money, add):
    """X-M6: a version added while a job is held changes neither its hold nor its charge."""
    await money.hold(amount=100)

    await add(a_version(valid_from=None))
    await money.post(amount=60, price_version="1")

    held = await money.value("SELECT price_version FROM holds")
    row = await money.row("SELECT price_version, amount_nanousd FROM ledger")
    assert (held, tuple(row)) == ("1", ("1", 60))
