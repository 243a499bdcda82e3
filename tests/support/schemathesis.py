"""schemathesis: requests, sound and unsound, made from a served OpenAPI document; each answer must be one it names."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

from tests.support.asking import SECRET


async def hold_against(url: str, folder: Path) -> None:
    """Raises AssertionError with what it found.

    What JSON Schema calls sound is not always taken here: 739.0 is no integer.
    """
    program = await asyncio.create_subprocess_exec(
        *(str(Path(sys.executable).parent / "schemathesis"), "run", f"{url}/openapi.json"),
        *("--header", f"Authorization: Bearer {SECRET}", "--checks", "all"),
        *("--exclude-checks", "positive_data_acceptance", "--max-examples", "30"),
        *("--seed", "1", "--generation-database", "none", "--no-color"),
        cwd=folder,
        stdout=PIPE,
        stderr=STDOUT,
    )
    out, _ = await program.communicate()
    assert program.returncode == 0, out.decode()
