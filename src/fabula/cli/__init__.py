"""The command line: one small file per verb, each a call of one room below.

Exit codes: 0 done; 1 ran, and the answer is no; 2 refused (bad input or set-up).
With ``--json`` a verb prints one JSON object on standard output; progress and notes always go
to standard error.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from typing import Any

from fabula.errors import FabulaError

# Verb -> its one-line help; only the module of the verb that was typed is imported, because
# start-up is part of the time to the first word.
VERBS = {
    "write": "Write a story for a brief.",
    "replay": "Write a story file again and compare it byte for byte.",
    "read": "Read a brief out of a text, with evidence.",
    "prepare": "Turn stories into a tagged, split, deduplicated corpus.",
    "corpus": "Write the report and the card of a prepared corpus anew.",
    "plan": "Say what training a model takes: memory, rate, hours, disk.",
    "doctor": "Look at what a recipe would learn, before its first step.",
    "schedule": "Show the learning rate over a run before it begins.",
    "train": "Train or fine-tune a model from a recipe.",
    "runs": "List runs, compare them, or draw the page of one.",
    "export": "Hand a model on: merged, as GGUF, for Ollama, vLLM and the hub.",
    "evaluate": "Score a model on held-out stories.",
    "models": "List the models that can write here.",
}


def emit(payload: dict[str, Any]) -> None:
    """Print the one JSON object of ``--json``."""
    sys.stdout.write(json.dumps(payload, ensure_ascii=False, indent=1) + "\n")
    sys.stdout.flush()


def _app(verb: str | None) -> Any:
    import typer

    app = typer.Typer(
        name="fabula",
        help="Write short stories for a particular reader, and train the models that do.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )

    @app.callback(invoke_without_command=True)
    def root(
        version: bool = typer.Option(False, "--version", help="Print the version and stop."),
    ) -> None:
        if version:
            from fabula import __version__

            typer.echo(f"fabula {__version__}")
            raise typer.Exit

    for name in [verb] if verb in VERBS else VERBS:
        module = importlib.import_module(f"fabula.cli.{name}")
        app.command(name, help=VERBS[name])(module.command)
    return app


def main() -> None:
    """Entry point of the `fabula` command."""
    arguments = sys.argv[1:]
    verb = next((a for a in arguments if not a.startswith("-")), None)
    try:
        _app(verb)()
    except FabulaError as error:
        if os.environ.get("RANK", "0") != "0":
            # Of several processes that refuse the same, the first says so, and then all are ended.
            time.sleep(1)
        if "--json" in arguments:
            emit({"error": str(error)})
        sys.stderr.write(f"fabula: {error}\n")
        sys.exit(2)
    except KeyboardInterrupt as error:
        kept = f"; {error}" if str(error) else ""
        sys.stderr.write(f"fabula: interrupted{kept}.\n")
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output went away (`fabula read x | head`): nothing left to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
