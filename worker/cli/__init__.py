"""The command line: `hearken`, or `python -m worker`. The outermost layer; each command is a module of its own here.

Answers go to standard output, everything else to standard error. Exit codes: 0 done, 1 no (something is pending,
another process is already doing it, the database is unreachable, the operator said no), 2 wrong usage or an unknown
name, 130 interrupted.
"""

from __future__ import annotations

import sys

import click

from worker.cli.lazy import LazyGroup
from worker.cli.text import check_arguments, escape_output
from worker.version import __version__

INTERRUPTED = 130


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="hearken", message="%(prog)s %(version)s")
def hearken() -> None:
    """Hearken: a durable, event-driven worker for Postgres."""


def main() -> None:
    """Run the command that the arguments name, and exit with its code. An expected failure prints no traceback."""
    escape_output()
    try:
        check_arguments(sys.argv[1:])
        code = hearken.main(prog_name="hearken", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(INTERRUPTED)
    except Exception as error:
        from worker.commands.failures import describe_failure

        failure = describe_failure(error)
        if failure is None:
            raise
        click.echo(f"hearken: {failure.message}", err=True)
        sys.exit(failure.code)
    sys.exit(code)
