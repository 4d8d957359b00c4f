"""`sweepgrad ui`: the links it prints, opened in a real browser."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.browser import chromium, needs_chromium
from tests.support import Sweep

from sweepgrad.cli.ui import links
from sweepgrad.tracking.store import Store


def test_without_a_sweep_there_is_only_the_table_of_all_runs(folder):
    store = Store(f"sqlite:///{folder}/runs/mlflow.db", "sweepgrad")
    assert list(links(store, "http://127.0.0.1:1")) == ["all runs"]


@pytest.mark.slow
def test_a_taken_port_is_named(folder):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        sweepgrad = str(Path(sys.executable).with_name("sweepgrad"))
        done = subprocess.run(
            [sweepgrad, "ui", "--port", port], cwd=folder, capture_output=True, text=True, check=False
        )
    assert done.returncode == 2
    assert f"port {port}" in done.stderr
    assert "--port" in done.stderr


@pytest.mark.slow
@needs_chromium
def test_the_links_open_the_sweep_and_its_comparison(sweep: Sweep):
    sweepgrad = str(Path(sys.executable).with_name("sweepgrad"))
    server = subprocess.Popen(
        [sweepgrad, "ui"],
        cwd=sweep.folder,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    try:
        found: dict[str, str] = {}
        for line in server.stdout:
            if match := re.fullmatch(r"  (.*): (http\S+)", line.rstrip()):
                found[match[1]] = match[2]
            if "Ctrl-C" in line:
                break
        with chromium() as browser:
            page = browser.new_page(viewport={"width": 1600, "height": 900})
            page.set_default_timeout(60_000)
            page.goto(found["all runs"])
            page.get_by_text(sweep.name[:12]).first.wait_for()
            page.goto(found[f"{sweep.name}, table"])
            page.get_by_text("4 matching runs").wait_for()
            page.get_by_text("wide seed=1").first.wait_for()
            (comparison,) = [address for name, address in found.items() if "comparison" in name]
            page.goto(comparison)
            page.get_by_text("Comparing 2 Runs").wait_for()
            page.get_by_text("best/val/accuracy").first.wait_for()
    finally:
        server.send_signal(signal.SIGTERM)  # SIGINT may be ignored where tests run in the background
        assert server.wait(120) == 0
        server.stdout.close()
