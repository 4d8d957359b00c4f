"""MLflow's web interface on our store, and links to the pages of the latest sweep."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import suppress
from typing import IO
from urllib.error import URLError
from urllib.parse import quote

from sweepgrad.errors import UserError
from sweepgrad.messages import show
from sweepgrad.selection.ranking import rank
from sweepgrad.stats.metrics import METRICS
from sweepgrad.tasks.binary import BINARY
from sweepgrad.tracking.store import Store
from sweepgrad.tracking.tags import PARENT


def links(store: Store, base: str) -> dict[str, str]:
    """Return links to all runs, and to the table, charts and comparison of the latest sweep."""
    runs = f"{base}/#/experiments/{store.experiment_id}/runs?workflowType=machine_learning"
    found = {"all runs": runs}
    sweep = store.latest_sweep()
    if sweep is None:
        return found
    only = quote(f"tags.`{PARENT}` = '{sweep.run_id}'")
    order = quote(f"metrics.`{METRICS[BINARY.default].key}`")
    table = f"{runs}&searchFilter={only}&orderByKey={order}&orderByAsc=false"
    found |= {f"{sweep.name}, table": table, f"{sweep.name}, charts": f"{table}&compareRunsMode=CHART"}
    with suppress(UserError):  # there may be no finished runs yet
        ids = json.dumps([entry.runs[0].run_id for entry in rank(store.children(sweep))[:20]])
        experiments = json.dumps([store.experiment_id])
        found[f"{sweep.name}, comparison of the best run of each configuration"] = (
            f"{base}/#/compare-runs?runs={quote(ids)}&experiments={quote(experiments)}"
        )
    return found


def serve(store: Store, host: str, port: int | None) -> int:
    """Run an MLflow server on the store until Ctrl-C, and return the exit code.

    Arguments:
        port: the port to listen on; None for the first free one from 5000.

    Raises:
        UserError: the port is in use, or the server does not start.
    """
    port = _free_port(host, port)
    base = f"http://{host}:{port}"
    environment = {
        **os.environ,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store.uri]
    command += ["--host", host, "--port", str(port), "--workers", "1"]
    show(f"starting MLflow at {base}; this takes some seconds …", flush=True)
    with tempfile.TemporaryFile("w+") as log:
        server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=log)
        signal.signal(signal.SIGTERM, lambda *_: server.terminate())
        try:
            _wait_until_it_answers(server, base, log)
            for name, address in links(store, base).items():
                show(f"  {name}: {address}", flush=True)
            show("Press Ctrl-C to stop.", flush=True)
            server.wait()
        except KeyboardInterrupt:
            pass
        finally:
            server.terminate()
            server.wait(timeout=20)
    return 0


def _free_port(host: str, port: int | None) -> int:
    for candidate in range(5000, 5100) if port is None else [port]:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, candidate))
            except OSError:
                continue
            return candidate
    raise UserError(f"port {port or '5000 to 5099'} of {host} is in use. Choose a free one with --port")


def _wait_until_it_answers(server: "subprocess.Popen[bytes]", base: str, log: IO[str]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if server.poll() is not None:
            log.seek(0)
            last = (log.read().strip() or "no message").splitlines()[-1]
            raise UserError(f"MLflow's server stopped: {last}")
        with suppress(URLError, OSError):
            urllib.request.urlopen(f"{base}/health", timeout=1).close()
            return
        time.sleep(0.2)
    raise UserError(f"MLflow's server at {base} does not answer")
