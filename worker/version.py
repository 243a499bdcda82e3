"""The version: what `--version`, the OpenAPI document and /health say. `pyproject.toml` says it too."""

__version__ = "0.1.0"
