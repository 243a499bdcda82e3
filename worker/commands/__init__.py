"""What every command is made of, the engine's and the systems': handlers loaded, a connection, output, exit codes.

Systems import from here. Exit codes: 0 done, NEGATIVE (1) for a no, WRONG (2) for wrong usage.
"""

from worker.commands.failures import NEGATIVE, WRONG
from worker.commands.output import print_json, print_table
from worker.commands.progress_bar import progress
from worker.commands.session import connected, load_handlers, open_database
from worker.commands.times import moment

__all__ = [
    "NEGATIVE",
    "WRONG",
    "connected",
    "load_handlers",
    "moment",
    "open_database",
    "print_json",
    "print_table",
    "progress",
]
