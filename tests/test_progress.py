import sys

from brain_tumor.progress import progress


def test_without_a_terminal_or_any_stderr_all_is_passed_on_in_silence(capsys, monkeypatch):
    assert list(progress("read")(iter([3, 1, 2]))) == [3, 1, 2]
    assert capsys.readouterr() == ("", "")

    monkeypatch.setattr(sys, "stderr", None)  # as Python sets it where it was closed at the start

    assert list(progress("read")(iter([3, 1, 2]))) == [3, 1, 2]
