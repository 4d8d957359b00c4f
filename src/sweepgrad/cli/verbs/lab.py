"""The verb `sweepgrad lab`."""

import argparse
import logging

from sweepgrad.cli.verbs.overrides import add_overrides, search_of
from sweepgrad.cli.verbs.stores import RUNS, add_uri
from sweepgrad.messages import show, show_json

log = logging.getLogger(__name__)

HELP = "Answer a question about neural networks by an experiment."
DESCRIPTION = """\
Run an experiment of the lab, a YAML file in conf/experiment/lab/; KEY=VALUE changes its settings. It prints
and plots the results and logs them to MLflow; docs/lab/ has the derivations. Without a name, list all
experiments. Exit code: 0 every claim holds, 1 a claim does not."""
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
    import time

    from sweepgrad.config.schema import store_uri
    from sweepgrad.errors import UserError
    from sweepgrad.lab.ask import ask
    from sweepgrad.lab.questions import QUESTIONS, Lab, names, settings, titles

    search = search_of(options)
    if options.name is None:
        for name, title in titles(names(search), search).items():
            show(f"{name:15}{title}")
        return 0
    if options.name == ALL and options.overrides:
        raise UserError(f"{' '.join(options.overrides)}: settings need one experiment, not all")
    try:
        lab = Lab(store_uri(options.uri))
    except ValueError as error:
        raise UserError(f"--uri: {error}") from None
    chosen = [name for name in names() if name in QUESTIONS] if options.name == ALL else [options.name]
    asked = {name: settings(name, options.overrides, search) for name in chosen}
    answers, failed = [], 0
    for name, (question, section) in asked.items():
        started = time.monotonic()
        log.info(f"{name} …")
        try:
            answer = ask(name, question, section, RUNS / "lab", lab)
        except UserError as error:
            if options.name != ALL:
                raise
            log.info(f"{name}: {error}")  # the others are run all the same
            failed = 2
            continue
        answers.append(answer)
        if not options.json:
            show(f"{name}: {titles([name], search)[name]}\n\n{answer.finding.markdown}\n", flush=True)
        log.info(f"{name}: {time.monotonic() - started:.0f} s, {answer.folder}, MLflow run {answer.run_id}")
    if options.json:
        found = [
            {"name": a.name, "folder": str(a.folder), "run": a.run_id, **a.finding.to_json()} for a in answers
        ]
        show_json(json.dumps(found if options.name == ALL else found[0], indent=1, ensure_ascii=False))
    return failed or (0 if all(answer.finding.holds for answer in answers) else 1)
