"""What a reader is told next, from wherever it is."""

from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_service.domain.answer import Answer, Entry
from job_service.domain.errors import EventCursorInvalid
from job_service.domain.job_events import (
    AnswerDelta,
    Cursor,
    Gap,
    JobEnded,
    LifecycleRecord,
    Snapshot,
)
from job_service.domain.story import Story

MOMENT = datetime(2026, 1, 2, tzinfo=UTC)


class Ended:
    """A job of which only the text matters."""

    def __init__(self, text):
        self.result_text = text


def records(*changes):
    return [
        LifecycleRecord(seq, type_, details, MOMENT)
        for seq, (type_, details) in enumerate(changes, 1)
    ]


BEGINNING = (("created", {}), ("pending", {"attempt": 0}), ("running", {"attempt": 1}))


def a_story(*more, texts=(), **limits):
    story = Story(**limits)
    story.take_records(records(*BEGINNING, *more))
    story.take_entries(Entry(number, text) for number, text in enumerate(texts, 1))
    return story


def read(story, at=""):
    """Return what is told from there on, as short words, with the cursor of each."""
    cursor, told = Cursor.parse(at), []
    while coming := story.after(cursor):
        for each in coming:
            cursor = each.cursor
            told.append((word(each.event), str(cursor)))
            if isinstance(each.event, JobEnded):
                return told
    return told


def word(event):
    match event:
        case LifecycleRecord():
            return event.type
        case AnswerDelta(attempt, number, text):
            return f"delta {attempt}-{number} {text}"
        case Gap(attempt, first, last):
            return f"gap {attempt}-{first}..{last}"
        case Snapshot(attempt, number, text):
            return f"snapshot {attempt}-{number} {text}"
        case JobEnded():
            return "ended"


class TestOrder:
    def test_answer_comes_between_running_and_the_end(self):
        story = a_story(("completed", {"attempt": 1, "deltas": 2}), texts=("Hel", "lo"))
        story.end(Ended("Hello"))
        assert read(story) == [
            ("created", "1"),
            ("pending", "2"),
            ("running", "3.1-0"),
            ("delta 1-1 Hel", "3.1-1"),
            ("delta 1-2 lo", "3.1-2"),
            ("completed", "4"),
            ("ended", "4.0-0"),
        ]

    def test_end_waits_for_the_answer(self):
        """The final change is known, but it isn't known yet whether more of the answer comes."""
        story = a_story(("completed", {"attempt": 1, "deltas": 2}), texts=("Hel",))
        assert read(story, "3.1-1") == []
        story.take_entries([Entry(2, "lo")])
        story.end(Ended("Hello"))
        assert [word for word, _ in read(story, "3.1-1")] == ["delta 1-2 lo", "completed", "ended"]

    def test_older_attempt_counts_no_more(self):
        """Its deltas are dropped, also for a reader that was in the middle of them."""
        story = a_story(texts=("old", "er"))
        story.take_records(
            records(*BEGINNING, ("retrying", {"attempt": 1}), ("running", {"attempt": 2}))
        )
        story.take_entries([Entry(1, "new")])
        assert read(story, "3.1-1") == [
            ("retrying", "4"),
            ("running", "5.2-0"),
            ("delta 2-1 new", "5.2-1"),
        ]

    def test_end_before_a_retry_is_none(self):
        """Who comes late, or was in the middle, is told the whole story and one end."""
        story = a_story(("failed", {"attempt": 1, "deltas": 2}), texts=("Hel",))
        again = (
            ("failed", {"attempt": 1, "deltas": 2}),
            ("retried", {"attempt": 1, "admission": 2}),
            ("pending", {"attempt": 1}),
            ("running", {"attempt": 2}),
        )
        story.take_records(records(*BEGINNING, *again[:2]))
        assert not story.runs
        story.take_records(records(*BEGINNING, *again))
        story.take_entries([Entry(1, "new")])
        assert (
            read(story, "3.1-0")
            == read(story, "3.1-1")
            == [
                ("failed", "4"),
                ("retried", "5"),
                ("pending", "6"),
                ("running", "7.2-0"),
                ("delta 2-1 new", "7.2-1"),
            ]
        )
        assert read(story, "4.0-0")[0] == ("retried", "5")
        story.take_records(
            records(*BEGINNING, *again, ("completed", {"attempt": 2, "deltas": 1, "admission": 2}))
        )
        story.end(Ended("new"))
        assert read(story, "7.2-1") == [("completed", "8"), ("ended", "8.0-0")]

    def test_other_changes_leave_the_attempt_alone(self):
        story = a_story(("cancel_requested", {"attempt": 1}), texts=("a", "b"))
        assert read(story, "3.1-1") == [("cancel_requested", "4.1-1"), ("delta 1-2 b", "4.1-2")]

    def test_end_is_told_again_to_who_asks_again(self):
        story = a_story(("cancelled", {"attempt": 1, "deltas": 0}))
        story.end(Ended(None))
        assert read(story, "4") == read(story, "4.0-0") == [("ended", "4.0-0")]

    def test_known_changes_change_nothing(self):
        story = a_story(texts=("a",))
        assert not story.take_records(records(*BEGINNING))
        assert not story.take_entries([Entry(1, "other")])
        assert read(story, "3.1-0") == [("delta 1-1 a", "3.1-1")]


class TestLosses:
    def test_snapshot_stands_for_what_was_wiped(self):
        story = a_story(texts=("a", "b"))
        story.take_entries([Entry(4, "abcd", is_snapshot=True), Entry(5, "e")])
        # The gap leaves the cursor where it was: whoever is cut off there still needs the rest.
        assert read(story, "3.1-2") == [
            ("gap 1-3..4", "3.1-2"),
            ("snapshot 1-4 abcd", "3.1-4"),
            ("delta 1-5 e", "3.1-5"),
        ]

    def test_who_saw_nothing_misses_nothing(self):
        story = a_story()
        story.take_entries([Entry(4, "abcd", is_snapshot=True)])
        assert read(story, "3.1-0") == [("snapshot 1-4 abcd", "3.1-4")]

    def test_hole_is_never_told(self):
        """What follows a hole waits for a snapshot."""
        story = a_story(texts=("a",))
        assert not story.take_entries([Entry(3, "c"), Entry(4, "d")])
        assert read(story, "3.1-1") == []
        story.take_entries([Entry(5, "abcde", is_snapshot=True)])
        assert read(story, "3.1-1") == [
            ("gap 1-2..5", "3.1-1"),
            ("snapshot 1-5 abcde", "3.1-5"),
        ]

    def test_result_stands_for_what_can_not_be_had(self):
        story = a_story(("completed", {"attempt": 1, "deltas": 3}), texts=("a",))
        story.end(Ended("abc"))
        assert [word for word, _ in read(story, "3.1-1")] == [
            "gap 1-2..3",
            "snapshot 1-3 abc",
            "completed",
            "ended",
        ]
        assert [word for word, _ in read(story, "2")][:2] == ["running", "snapshot 1-3 abc"]

    def test_failed_attempt_keeps_no_text(self):
        """Nothing for who saw nothing; an empty answer for who saw some of what is no more."""
        story = a_story(("failed", {"attempt": 1, "deltas": 3}))
        story.end(Ended(None))
        assert [word for word, _ in read(story, "3.1-0")] == ["failed", "ended"]
        assert [word for word, _ in read(story, "3.1-2")] == [
            "gap 1-3..3",
            "snapshot 1-3 ",
            "failed",
            "ended",
        ]

    def test_unknown_count_claims_no_gap(self):
        """The reaper ended it: nobody knows how much the lost replica had said."""
        story = a_story(("failed", {"attempt": 1}), texts=("a",))
        story.end(Ended(None))
        assert [word for word, _ in read(story, "3.1-0")] == ["delta 1-1 a", "failed", "ended"]

    def test_who_is_too_slow_gets_a_snapshot(self):
        story = a_story(answer=Answer(most_deltas=4), texts="abcdef")
        assert [word for word, _ in read(story, "3.1-1")] == [
            "gap 1-2..3",
            "snapshot 1-3 abc",
            "delta 1-4 d",
            "delta 1-5 e",
            "delta 1-6 f",
        ]

    def test_memory_is_bounded(self):
        """However long the answer, few of its deltas are kept apart."""
        story = a_story(answer=Answer(most_characters=100), texts=["x" * 9] * 5000)
        assert len(story.answer._texts) < 12
        assert story.answer.after(0)[0] == Snapshot(
            1, story.answer._beginning_to, "x" * 9 * story.answer._beginning_to
        )

    def test_few_changes_are_kept(self):
        story = a_story(*(("dispatched", {"attempt": 1}) for _ in range(50)), most_records=10)
        assert story.lacks(Cursor(40))
        assert not story.lacks(Cursor(43, 1))
        assert len(read(story, "43.1-0")) == 10

    def test_too_many_changes_at_once(self):
        """The newest are kept; readers look up the others."""
        story = Story(most_records=10)
        story.take_records(records(*BEGINNING))
        story.take_entries([Entry(1, "a")])
        story.take_records([LifecycleRecord(20, "completed", {"attempt": 2, "deltas": 1}, MOMENT)])
        story.end(Ended("b"))
        assert story.lacks(Cursor(3, 1, 1))
        assert read(story, "19.2-0")[0] == ("snapshot 2-1 b", "19.2-1")


class TestCursor:
    @given(
        st.integers(1, 2**31 - 1),
        st.integers(1, 10**9),
        st.integers(0, 10**15),
        st.sampled_from(["none", "running", "end"]),
    )
    def test_every_cursor_reads_as_it_was_written(self, seq, attempt, number, kind):
        cursor = {
            "none": Cursor(seq),
            "running": Cursor(seq, attempt, number),
            "end": Cursor(seq, knows_end=True),
        }[kind]
        assert Cursor.parse(str(cursor)) == cursor

    def test_nothing_seen_is_the_empty_cursor(self):
        assert Cursor.parse("") == Cursor()
        assert str(Cursor()) == ""

    @pytest.mark.parametrize(
        "text",
        [
            *[
                "0",
                "00",
                "01",
                "-1",
                "1.",
                "1.1",
                "1.1-",
                "1.0-1",
                "1.01-1",
                "1.1-01",
                "1.1-1-1",
                "1.-1-1",
                "+1",
                "nonsense",
                "١",
            ],
            *[" 1", "1\n", "1.1-1\n", "2147483648", "9" * 400],
        ],
    )
    def test_anything_else_is_refused(self, text):
        with pytest.raises(EventCursorInvalid):
            Cursor.parse(text)

    @given(st.text("0123456789.-", max_size=12))
    def test_no_cursor_has_two_forms(self, text):
        with suppress(EventCursorInvalid):
            assert str(Cursor.parse(text)) == text

    @pytest.mark.parametrize(
        ("cursor", "is_possible"),
        [
            ("1", True),
            ("2", True),
            ("3", False),
            ("3.1-0", True),
            ("3.1-7", True),
            ("3.2-0", False),
            ("3.0-0", False),
            ("4.1-7", True),
            ("5", True),
            ("6.2-0", True),
            ("6.2-5", True),
            ("6.2-6", False),
            ("6.1-2", False),
            ("7", True),
            ("7.0-0", True),
            ("7.2-5", False),
            ("8", False),
        ],
    )
    def test_only_places_where_a_reader_may_be(self, cursor, is_possible):
        all_records = records(
            *BEGINNING,
            ("cancel_requested", {"attempt": 1}),
            ("pending", {"attempt": 1}),
            ("running", {"attempt": 2}),
            ("completed", {"attempt": 2, "deltas": 5}),
        )
        assert Cursor.parse(cursor).is_possible(all_records) is is_possible
