"""Promise: a commit says what it does in a line that fits, and why in a body."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support.parts import Missing, needed

ROOT = Path(__file__).parents[2]
# Those before it are as they are.
SINCE = "901266c1"
LONGEST_SUBJECT = 72


def _commits() -> list[tuple[str, str, str]]:
    """Abbreviated hash, subject and body of every commit since then, but for merges, whose subject git writes."""
    command = ["git", "log", "--no-merges", "-z", "--format=%h%x00%s%x00%b", f"{SINCE}..HEAD"]
    try:
        log = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise Missing(f"the history since {SINCE} is not here: clone the repository whole, with git") from error
    parts = iter(log.split("\0")[:-1])
    return list(zip(parts, parts, parts, strict=True))


def test_commits_say_what_and_why() -> None:
    """In at most 72 characters, which every tool shows whole, and in a body."""
    commits = needed(_commits)
    assert commits, "the history is empty"
    assert [f"{name} {subject}" for name, subject, _ in commits if len(subject) > LONGEST_SUBJECT] == []
    assert [f"{name} {subject}" for name, subject, body in commits if not body.strip()] == []
