"""Tab completion in a real shell."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest
from tests.support import command, console_script, environment

TAB = "\t"


@pytest.fixture(scope="module")
def bash(tmp_path_factory):
    """Start an interactive bash with our completion."""
    path = f"{console_script().rpartition('/')[0]}:/usr/bin:/bin"
    shell = pexpect.spawn(
        "bash",
        ["--norc", "--noprofile", "-i"],
        env={**environment(), "PATH": path, "PS1": "READY> ", "TERM": "dumb", "INPUTRC": "/dev/null"},
        cwd=str(tmp_path_factory.mktemp("shell")),
        encoding="utf-8",
        timeout=60,
        dimensions=(40, 200),
    )
    shell.expect_exact("READY> ")
    shell.sendline("bind 'set bell-style none' 'set show-all-if-ambiguous on' 'set page-completions off'")
    shell.expect_exact("READY> ")
    shell.sendline('eval "$(sweepgrad completion bash)"')
    shell.expect_exact("READY> ")
    yield shell
    shell.sendline("exit")
    shell.close()


def typed(bash: "pexpect.spawn[str]", line: str, expected: str) -> None:
    """TAB after `line` makes `expected` of it, no more and no less."""
    bash.send(f"{line}{TAB}")
    bash.expect_exact(line)
    bash.send("\x05.\x01echo MADE: \r")  # a full stop at its end, echo at its beginning
    bash.expect(r"\nMADE: ([^\r\n]*)\.\r")
    assert isinstance(bash.match, re.Match)
    # Before a full stop the trailing space of a finished word is kept.
    assert str(bash.match[1]) == expected
    bash.expect_exact("READY> ")


@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("sweepgrad le", "sweepgrad leaderboard "),
        ("sweepgrad fin", "sweepgrad finalize "),
        ("sweepgrad train mod", "sweepgrad train model"),
        ("sweepgrad train model=wi", "sweepgrad train model=wide"),
        ("sweepgrad train data=simulated model=de", "sweepgrad train data=simulated model=deep"),
        ("sweepgrad train optimizer.l", "sweepgrad train optimizer.lr="),
        (
            "sweepgrad train optimizer=sgd experiment=ass",
            "sweepgrad train optimizer=sgd experiment=assignment",
        ),
        ("sweepgrad train --multi", "sweepgrad train --multirun "),
        ("sweepgrad leaderboard --js", "sweepgrad leaderboard --json "),
        ("sweepgrad continue 3f2a train.ep", "sweepgrad continue 3f2a train.epochs="),
        ("sweepgrad check --json data=sp", "sweepgrad check --json data=spotify"),
    ],
)
def test_tab_completes(bash, line, completed):
    typed(bash, line, completed)


def test_tab_lists_the_options_of_a_group(bash):
    bash.send(f"sweepgrad train optimizer={TAB}")
    for option in ("adagrad", "adam", "momentum", "sgd"):
        bash.expect_exact(option)
    bash.send("\x15\x03")
    bash.expect_exact("READY> ")


def test_files_are_completed_where_nothing_else_fits(bash):
    bash.sendline("touch somefile.csv")
    bash.expect_exact("READY> ")
    typed(bash, "sweepgrad sync somef", "sweepgrad sync somefile.csv")


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_script_is_one_the_shell_can_read(shell):
    script = command("completion", shell)
    assert script.code == 0
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here")
    subprocess.run([shell, "-n"], input=script.out, text=True, check=True)


@pytest.mark.skipif(shutil.which("zsh") is None, reason="needs zsh, which .ci/run installs")
def test_zsh_completes_verbs_and_options():
    shell = pexpect.spawn(
        "zsh", ["-f", "-i"], env=environment() | {"TERM": "dumb"}, encoding="utf8", timeout=60
    )
    path = str(Path(sys.executable).parent)
    shell.sendline(f"PATH={path}:$PATH; PS1='$ '; autoload -Uz compinit && compinit -u -D; echo RE'ADY'")
    shell.expect_exact("READY")
    shell.sendline("eval \"$(sweepgrad completion zsh)\"; echo LOA'DED'")
    shell.expect_exact("LOADED")
    shell.send("sweepgrad tra\t")
    shell.expect_exact("train ")
    shell.send("model=wi\t")
    shell.expect_exact("wide")
    shell.sendcontrol("u")
    shell.sendline("exit")
    shell.expect(pexpect.EOF)
    shell.close()


def test_an_unknown_shell_is_refused():
    assert command("completion", "fish").code == 2


def test_a_file_name_is_completed_and_never_run(tmp_path, monkeypatch):
    """`compgen -W` would execute the command in this name."""
    (tmp_path / "$(touch OWNED).csv").touch()
    (tmp_path / "fine.csv").touch()
    script = (
        command("completion", "bash").out
        + """
COMP_WORDBREAKS=$' =' COMP_LINE='sweepgrad train data.path=./' COMP_POINT=28 _sweepgrad
printf '%s\\n' "${COMPREPLY[@]}"
"""
    )
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env={"PATH": path}, capture_output=True, text=True, check=False
    )
    assert "./fine.csv" in done.stdout
    assert not (tmp_path / "OWNED").exists()
