"""Migrations: once, in order, by one process at a time."""

import asyncio
import sys

import pytest
from sqlalchemy import text

from service_kit.database import new_metadata, open_engine
from service_kit.errors import Unavailable
from service_kit.migrate import alembic_config, run_migrations

FIRST = '''
"""Make the table of things."""
import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade():
    op.execute("SELECT pg_sleep(0.2)")
    op.create_table("things", sa.Column("id", sa.Integer, primary_key=True))
    op.execute("INSERT INTO things VALUES (1)")


def downgrade():
    op.drop_table("things")
'''
SECOND = FIRST.replace('"0001"', '"0002"').replace("down_revision = None", 'down_revision = "0001"')
SECOND = SECOND.replace("things", "others")
BROKEN = SECOND.replace("INSERT INTO others VALUES (1)", "INSERT INTO nowhere VALUES (1)")
INDEX = '''
"""Find others while they are written."""
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade():
    with op.get_context().autocommit_block():
        op.create_index("ix_others_id", "others", ["id"], postgresql_concurrently=True)
'''

BOTH = "SELECT id FROM things UNION ALL SELECT id FROM others"


@pytest.fixture
def service(tmp_path, monkeypatch):
    """A service module with migrations; returns the folder of its versions."""
    versions = tmp_path / "kit_sample" / "adapters" / "migrations" / "versions"
    versions.mkdir(parents=True)
    (tmp_path / "kit_sample" / "__init__.py").touch()
    (versions / "0001_things.py").write_text(FIRST)
    monkeypatch.syspath_prepend(tmp_path)
    yield versions
    sys.modules.pop("kit_sample", None)


@pytest.fixture
def database_url(postgres_server, request):
    return postgres_server.create_database(f"kit_{abs(hash(request.node.name))}")


async def rows(url, statement):
    engine = open_engine(url, application_name="kit-test")
    async with engine.connect() as connection:
        found = (await connection.execute(text(statement))).scalars().all()
    await engine.dispose()
    return found


async def test_migrations_run_once_and_in_order(service, database_url):
    """A second run changes nothing; a new version runs on top."""
    await run_migrations("kit_sample", database_url)
    await run_migrations("kit_sample", database_url)
    (service / "0002_others.py").write_text(SECOND)
    await run_migrations("kit_sample", database_url)

    assert await rows(database_url, "SELECT version_num FROM alembic_version") == ["0002"]
    assert await rows(database_url, "SELECT id FROM things UNION ALL SELECT id FROM others") == [
        1,
        1,
    ]


async def test_replicas_may_migrate_at_once(service, database_url):
    """Five that start together run each migration once."""
    (service / "0002_others.py").write_text(SECOND)

    await asyncio.gather(*[run_migrations("kit_sample", database_url) for _ in range(5)])

    assert await rows(database_url, "SELECT id FROM things UNION ALL SELECT id FROM others") == [
        1,
        1,
    ]


async def test_index_built_concurrently_waits_for_no_replica(service, database_url):
    """It waits for every transaction under way, so those who wait for their turn have none."""
    (service / "0002_others.py").write_text(SECOND)
    (service / "0003_index.py").write_text(INDEX)

    await asyncio.gather(*[run_migrations("kit_sample", database_url) for _ in range(5)])

    valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix_others_id'::regclass"
    assert await rows(database_url, valid) == [True]


async def test_failed_migration_leaves_the_last_good_state(service, database_url):
    """What a broken version began is undone; the version before it stays."""
    (service / "0002_others.py").write_text(BROKEN)

    with pytest.raises(Exception, match="nowhere"):
        await run_migrations("kit_sample", database_url)

    assert await rows(database_url, "SELECT version_num FROM alembic_version") == ["0001"]
    assert await rows(database_url, "SELECT to_regclass('others')::text") == [None]


async def test_absent_database_is_unavailable(service):
    """A migration without a database says so."""
    with pytest.raises(Unavailable):
        await run_migrations("kit_sample", "postgresql://kit:none@127.0.0.1:1/kit")


def test_configuration_needs_no_file(service):
    """The versions of a module are found through the module."""
    assert alembic_config("kit_sample").get_main_option("version_locations") == str(service)


def test_constraints_are_named_alike():
    """Every constraint has a name that a migration can use."""
    from sqlalchemy import CheckConstraint, Column, ForeignKey, Integer, Table, UniqueConstraint

    metadata = new_metadata()
    Table("a", metadata, Column("id", Integer, primary_key=True))
    table = Table(
        "b",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("a_id", ForeignKey("a.id"), index=True),
        Column("c", Integer),
        UniqueConstraint("a_id", "c"),
        CheckConstraint("c > 0", name="c_is_positive"),
    )
    names = {constraint.name for constraint in table.constraints}

    assert {"pk_b", "fk_b_a_id_a", "uq_b_a_id_c", "ck_b_c_is_positive"} == {str(n) for n in names}
    assert {index.name for index in table.indexes} == {"ix_b_a_id"}
