"""The command line: its commands in the order of the help, and what is shown of an error."""

from __future__ import annotations

import atexit
import gc
import sys
import traceback

import typer

from datus2_ray.cli.advice import fit_advice
from datus2_ray.cli.experiments import experiment
from datus2_ray.cli.flags import SETTING_OF
from datus2_ray.cli.images import demo, ingest, plan, predict, pretrain, run
from datus2_ray.cli.machine import datasets, doctor, settings, submit
from datus2_ray.cli.names import explore, import_masks, name
from datus2_ray.cli.runs import clean, evaluate, export, relabel, report, status
from datus2_ray.errors import DatusError, UsageError

#: Exit code that typer makes of the interrupt key.
INTERRUPTED = 130

#: Characters that are shown of an error that is not ours.
MAX_TEXT = 500

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Segments and classes in images without a single label: DatUS² on Ray.",
)

for command in (run, plan, ingest, pretrain, experiment, demo, predict, export):
    app.command()(command)
app.command(name="import")(import_masks)
for command in (relabel, explore, name, evaluate, status, clean):
    app.command()(command)
app.command(context_settings={"allow_interspersed_args": False})(submit)
for command in (report, doctor, settings, datasets):
    app.command()(command)


def flags_of(command: str) -> set[str]:
    """Return the flags of a command; none of one that there is not."""
    group = typer.main.get_command(app)
    found = getattr(group, "commands", {}).get(command)
    return {flag for parameter in found.params for flag in parameter.opts} if found else set()


def main() -> None:
    """Run the command line; an error is one line and an exit code, a trace only with ``--debug``."""
    atexit.register(_leave_garbage)
    try:
        app(standalone_mode=True)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            print("stopped; run the same command again to go on", file=sys.stderr)
        raise
    except Exception as error:
        if "--debug" in sys.argv:
            traceback.print_exc()
        command = sys.argv[1] if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else "run"
        print(f"error: {fit_advice(_one_line(error), flags_of(command), SETTING_OF)}", file=sys.stderr)
        if isinstance(error, UsageError):
            print(f"see `datus2 {command} --help`", file=sys.stderr)
        raise SystemExit(error.exit_code if isinstance(error, DatusError) else 1) from None


def _leave_garbage() -> None:
    """Keep the interpreter from looking for garbage in all that was imported when it ends, for up to 0.7 s."""
    if "triton" not in sys.modules:  # whose bindings would print what is left
        gc.freeze()


def _one_line(error: Exception) -> str:
    """Return what the terminal shows of an error: never the trace that Ray's errors have for a message."""
    if isinstance(error, DatusError):
        return str(error)
    if "ray" in sys.modules:
        from ray.exceptions import RayError

        from datus2_ray.engine.failure import cause_of

        if isinstance(error, RayError):
            return str(cause_of(error))
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:MAX_TEXT]}{'…' * (len(text) > MAX_TEXT)}; --debug shows where"
