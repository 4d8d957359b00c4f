"""Messages go through `logging`, and only the command line shows them."""

import logging
import subprocess
import sys

import pytest
from tests.support import environment

from sweepgrad.messages import shown

log = logging.getLogger("sweepgrad.somewhere")


def test_within_a_command_line_messages_are_lines_on_standard_error(capsys):
    with shown():
        log.info("it begins")
        log.debug("unheard")
        with shown(logging.WARNING):
            log.info("unheard")
            log.warning("it %s", "failed")
        log.info("it ends")
    log.info("unheard")
    out, err = capsys.readouterr()
    assert (out, err) == ("", "it begins\nit failed\nit ends\n")


@pytest.mark.parametrize("without", [False, True])
def test_what_went_wrong_is_red_on_a_terminal(without, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    if without:
        monkeypatch.setenv("NO_COLOR", "1")
    else:
        monkeypatch.delenv("NO_COLOR", raising=False)
    with shown():
        log.info("well")
        log.warning("ill")
    assert capsys.readouterr().err == ("well\nill\n" if without else "well\n\x1b[31mill\x1b[0m\n")


def test_who_uses_the_package_is_shown_nothing_until_they_ask():
    code = """if True:
        import logging, sys, sweepgrad
        log = logging.getLogger("sweepgrad.somewhere")
        log.warning("unheard")
        logging.basicConfig(stream=sys.stdout, format="%(name)s: %(message)s", level="INFO")
        log.info("heard")
    """
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("sweepgrad.somewhere: heard\n", "")
