"""The verb `sweepgrad lab`."""

import argparse
import logging

from sweepgrad.cli.verbs.overrides import add_overrides, search_of
from sweepgrad.cli.verbs.stores import add_uri
from sweepgrad.messages import show, show_json

log = logging.getLogger(__name__)

HELP = "Answer a question about neural networks by an experiment."
DESCRIPTION = """\
Run an experiment of the lab, a YAML file in conf/experiment/lab/; KEY=VALUE changes its settings. It prints
and plots the results and logs them to MLflow; docs/lab/ has the derivations. Without a name, list all
experiments with their numbers in the assignment. Exit code: 0 every claim holds, 1 a claim does not."""
EXAMPLES = """\
examples:
  sweepgrad lab                           list the experiments
  sweepgrad lab sgd                       does stochastic gradient descent converge, and to what?
  sweepgrad lab scale 'scales=[1,10]'     with other settings
  sweepgrad lab mine --config-dir FOLDER  your own: FOLDER/experiment/lab/mine.yaml
  sweepgrad lab all                       all experiments"""

ALL = "all"


def add_arguments(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("name", nargs="?", metavar="NAME", help="name of an experiment, or all")
    verb.add_argument("--json", action="store_true", help="print JSON")
    add_overrides(verb, "a setting of the experiment, such as seed=3")
    add_uri(verb)


def run(options: argparse.Namespace) -> int:
    import json
    import os
    import shutil
    import time

    from sweepgrad.api.lab import Answer, ask_at
    from sweepgrad.config.schema import store_uri
    from sweepgrad.errors import UserError
    from sweepgrad.lab.configs import settings, titles

    search = search_of(options)
    if options.name is None:
        for name, title in titles(search).items():
            show(f"{name:15}{title.number:7}{title.text}")
        return 0
    if options.name == ALL and options.overrides:
        raise UserError(f"{' '.join(options.overrides)}: settings need one experiment, not all")
    try:
        store_uri(options.uri)
    except ValueError as error:
        raise UserError(f"--uri: {error}") from None
    answers, failed = list[Answer](), 0
    for name in titles() if options.name == ALL else [options.name]:
        started = time.monotonic()
        try:
            settings(name, options.overrides, search)  # before anything is said or done
            log.info(f"{name} …")
            answer = ask_at(name, options.overrides, search, options.uri)
        except UserError as error:
            if options.name != ALL:
                raise
            log.info(f"{name}: {error}")  # the others are run all the same
            failed = 2
            continue
        answers.append(answer)
        if not options.json:
            width = min(shutil.get_terminal_size((100, 0)).columns, 110)
            show(f"{name}: {answer.question}\n\n{answer.finding.text(width)}\n", flush=True)
        place = os.path.relpath(answer.folder)
        log.info(f"{name}: {time.monotonic() - started:.0f} s, {place}, MLflow run {answer.run_id}")
    if options.json:
        found = [answer.to_json() for answer in answers]
        show_json(json.dumps(found if options.name == ALL else found[0], indent=1, ensure_ascii=False))
    return failed or (0 if all(answer.holds for answer in answers) else 1)
