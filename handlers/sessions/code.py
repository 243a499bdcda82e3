"""An invoice's code as a picture."""

from __future__ import annotations

from pathlib import Path

from worker import UsageError

KINDS = {".png": "png", ".svg": "svg"}
# Pixels (in an SVG: units) to one square of the code.
SCALE = 8


def kind_of(file: Path) -> str:
    """What the file's ending asks for. Raises UsageError for one that is none of ours."""
    kind = KINDS.get(file.suffix.lower())
    if kind is None:
        raise UsageError(f"{file}: name a file that ends in {' or '.join(KINDS)}")
    return kind


def draw(content: str, file: Path) -> None:
    """Write the code to the file, as PNG or SVG by its ending. Raises UsageError when it cannot be written."""
    import segno

    kind = kind_of(file)
    try:
        with file.open("wb") as out:
            segno.make_qr(content).save(out, kind=kind, scale=SCALE)
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror or error}") from error
