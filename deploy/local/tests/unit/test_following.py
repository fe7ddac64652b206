"""Reading the logs of a stack."""

from pathlib import Path

from weir_local import following


def test_lines_of_several_logs_carry_names(tmp_path: Path) -> None:
    """One can tell who wrote what."""
    (tmp_path / "gateway.log").write_text("one\ntwo\n")
    (tmp_path / "auth-service.log").write_text("three\n")
    written: list[str] = []

    files = following.find(tmp_path, None)
    following.show(files, lines=1, follow=False, write=written.append)

    assert written == ["auth-service | three\n", "gateway      | two\n"]


def test_one_log_is_shown_as_it_is(tmp_path: Path) -> None:
    """So that it can be piped on."""
    (tmp_path / "gateway.log").write_text('{"event": "started"}\n')
    written: list[str] = []

    files = following.find(tmp_path, "gateway")
    following.show(files, lines=5, follow=False, write=written.append)

    assert written == ['{"event": "started"}\n']


def test_an_unknown_name_has_no_log(tmp_path: Path) -> None:
    """The command then says what to do."""
    assert following.find(tmp_path, "nobody") == []
