import json
import subprocess
import sys
import types

import pytest

import brain_tumor
from brain_tumor.errors import UserError
from brain_tumor.serving import cli


@pytest.fixture
def command(monkeypatch):
    """A command `probe` whose answer a test can choose; returns what it was called with."""
    calls = []

    def run(args):
        calls.append(args.number)
        if isinstance(module.answer, BaseException):
            raise module.answer
        return module.answer

    module = types.ModuleType("probe_command")
    module.add_arguments = lambda parser: parser.add_argument("--number", type=int, default=1)
    module.run, module.answer, module.calls = run, 0, calls
    monkeypatch.setitem(sys.modules, "probe_command", module)
    monkeypatch.setitem(cli.COMMANDS, "probe", ("probe_command", "for the test"))
    return module


@pytest.mark.parametrize("status", [0, 1, 3])
def test_passes_arguments_on_and_the_status_back(command, status):
    command.answer = status
    assert cli.main(["probe", "--number", "7"]) == status
    assert command.calls == [7]


def test_expected_error_is_one_line(command, capsys):
    command.answer = UserError("scan.png is empty: replace it")
    assert cli.main(["probe"]) == 1
    assert capsys.readouterr() == ("", "error: scan.png is empty: replace it\n")


def test_interrupt_is_one_line_and_a_defect_keeps_its_traceback(command, capsys):
    command.answer = KeyboardInterrupt()
    assert cli.main(["probe"]) == 130
    assert capsys.readouterr().err == "interrupted\n"
    command.answer = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        cli.main(["probe"])


@pytest.mark.parametrize("arguments", [[], ["unknown"], ["report", "--unknown"], ["--output", "report"]])
def test_wrong_use_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as raised:
        cli.main(arguments)
    assert raised.value.code == 2
    assert "usage: brain-tumor" in capsys.readouterr().err


def test_help_and_version(capsys):
    for arguments in (["--help"], ["report", "--help"], ["--version"]):
        with pytest.raises(SystemExit) as raised:
            cli.main(arguments)
        assert raised.value.code == 0
    out = capsys.readouterr().out
    assert "audit" in out
    assert "--output" in out
    assert brain_tumor.__version__ in out


def test_report_outside_a_project_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["report"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: params.yaml is not in this folder")
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_command_loads_only_its_own_module():
    code = (
        "import json, sys; from brain_tumor.serving import cli\n"
        "try: cli.main(['report', '--help'])\n"
        "except SystemExit: pass\n"
        "print(json.dumps([name for name in sys.modules if name.startswith('brain_tumor') or name == 'torch']))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = json.loads(done.stdout.splitlines()[-1])
    assert "brain_tumor.report.command" in loaded
    assert not {"brain_tumor.audit.command", "torch"} & set(loaded)


def test_an_interrupt_while_a_command_is_imported_is_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "slow_command.py").write_text("raise KeyboardInterrupt")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(cli.COMMANDS, "probe", ("slow_command", "for the test"))
    assert cli.main(["probe"]) == 130
    assert capsys.readouterr() == ("", "interrupted\n")


def test_a_file_that_cannot_be_written_is_one_line(command, tmp_path, capsys):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="directory") as raised:
        (tmp_path / "file" / "a\nb").touch()
    command.answer = raised.value
    assert cli.main(["probe"]) == 1
    assert capsys.readouterr().err.startswith(f"error: {tmp_path}/file/a\\nb: Not a directory")
    command.answer = ConnectionResetError()  # names no file
    with pytest.raises(ConnectionResetError):
        cli.main(["probe"])
