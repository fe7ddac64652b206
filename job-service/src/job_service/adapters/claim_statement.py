"""The statement that takes work from the queue, a turn for each project.

It costs the same however much waits: projects are found by skipping from one to the next in
`ix_jobs_queue`, no more of them than may get a turn, and of each no more jobs than may be taken.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import text

from job_service.adapters.tables import jobs

# So many jobs more than wanted are looked at: other replicas may have some of them locked just now.
LOCKED_BY_OTHERS: Final = 32

_DUE: Final = "state IN ('pending', 'retrying') AND kind = 'queued' AND available_at <= now()"
# The same for a job that was found by its id: written so that it fits none of the partial indexes,
# each of which looks empty to a planner that was not told yet.
_STILL_DUE: Final = _DUE.replace("state", "coalesce(state, '')")
# Of the jobs of one project. It is asked for in full everywhere, so that no other index will do.
_OWN_ORDER: Final = "priority DESC, created_at"
# In the order of `jobs.c`, whichever the order of the table.
_COLUMNS: Final = ", ".join(jobs.c.keys())

# `behind` and `before` walk, as far as they are asked to, over the projects with a due job: from
# `after` on, and then up to it. `idle` are the first of them that run nothing, `busy` all that do.
# `turns` are those whose turn it is: fewest running first, then in the order of the walk. Where
# there are as many as there may be, none adds more jobs than bring it to one above what the last
# one runs (`most`): those come later than the first job of each. `ranked` gives each job the place
# in which it would run if every project added one at a time. Nothing is locked but what is taken,
# and that is looked at again once it is locked. `idle` is cut off without an order of its own: a
# recursion gives its rows as it finds them, one project after the other. A limit that the planner
# can't know makes it read the index in order rather than sort, also where it has not heard yet that
# a project has very many jobs.
CLAIM: Final = text(
    f"""
    WITH RECURSIVE running AS MATERIALIZED (
        SELECT project_id, count(*) AS jobs FROM jobs
        WHERE state = 'running' AND kind = 'queued'
        GROUP BY project_id
    ), behind AS (
        (
            SELECT project_id FROM jobs
            WHERE {_DUE} AND project_id > :after
            ORDER BY project_id, {_OWN_ORDER} LIMIT 1
        )
        UNION ALL
        SELECT next.project_id FROM behind CROSS JOIN LATERAL (
            SELECT project_id FROM jobs
            WHERE {_DUE} AND project_id > behind.project_id
            ORDER BY project_id, {_OWN_ORDER} LIMIT 1
        ) next
    ), before AS (
        (
            SELECT project_id FROM jobs
            WHERE {_DUE} AND project_id <= :after
            ORDER BY project_id, {_OWN_ORDER} LIMIT 1
        )
        UNION ALL
        SELECT next.project_id FROM before CROSS JOIN LATERAL (
            SELECT project_id FROM jobs
            WHERE {_DUE} AND project_id > before.project_id AND project_id <= :after
            ORDER BY project_id, {_OWN_ORDER} LIMIT 1
        ) next
    ), idle AS (
        SELECT project_id, 0 AS running
        FROM (SELECT project_id FROM behind UNION ALL SELECT project_id FROM before) waiting
        WHERE project_id NOT IN (SELECT project_id FROM running)
        LIMIT (SELECT CAST(:reach AS bigint))
    ), busy AS (
        SELECT project_id, running.jobs AS running FROM running CROSS JOIN LATERAL (
            SELECT FROM jobs
            WHERE {_DUE} AND project_id = running.project_id
            ORDER BY {_OWN_ORDER} LIMIT 1
        ) due
    ), turns AS MATERIALIZED (
        SELECT project_id, running FROM (SELECT * FROM idle UNION ALL SELECT * FROM busy) waiting
        ORDER BY running, project_id <= :after, project_id
        LIMIT :reach
    ), shares AS (
        SELECT project_id, running, CASE
            WHEN count(*) OVER () < :reach THEN :reach
            ELSE least(:reach, max(running) OVER () + 1 - running)
        END AS most
        FROM turns
    ), ranked AS MATERIALIZED (
        SELECT first.job_id, row_number() OVER (
            ORDER BY shares.running + first.place, shares.project_id <= :after, shares.project_id
        ) AS turn
        FROM shares CROSS JOIN LATERAL (
            SELECT job_id, row_number() OVER (ORDER BY {_OWN_ORDER}) AS place
            FROM jobs
            WHERE {_DUE} AND project_id = shares.project_id
            ORDER BY {_OWN_ORDER}
            LIMIT (SELECT CAST(shares.most AS bigint))
        ) first
        ORDER BY turn
        LIMIT :reach
    ), due AS MATERIALIZED (
        SELECT job_id, turn FROM ranked JOIN jobs USING (job_id)
        WHERE {_STILL_DUE}
        ORDER BY turn
        LIMIT :limit
        FOR UPDATE OF jobs SKIP LOCKED
    ), claimed AS (
        UPDATE jobs SET
            state = 'running',
            attempt = jobs.attempt + 1,
            lease_token = gen_random_uuid()::text,
            lease_expires_at = now() + :lease,
            started_at = coalesce(jobs.started_at, now()),
            next_retry_at = NULL,
            dispatched_target = NULL,
            client_task_id = NULL,
            usage_counted = 0,
            decision = NULL,
            executed_target = NULL,
            executed_model = NULL,
            event_seq = jobs.event_seq + 1
        FROM due WHERE jobs.job_id = due.job_id
        RETURNING jobs.*, due.turn
    ), opened AS (
        INSERT INTO attempts (job_id, attempt, admission)
        SELECT job_id, attempt, admission FROM claimed
    ), told AS (
        INSERT INTO lifecycle_events (job_id, seq, type, details)
        SELECT job_id, event_seq, 'running',
               jsonb_build_object('attempt', attempt, 'retry_count', retry_count)
        FROM claimed
    )
    SELECT {_COLUMNS} FROM claimed ORDER BY turn
    """  # noqa: S608 -- constants of this module
).columns(*jobs.c)
