"""`vmafx-sidecar config`."""

from __future__ import annotations

import json
import os

import click

from pipeline import config
from pipeline.runtime.lifecycle import ExitCode


@click.command(name="config", epilog="Example: VMAFX_SIDECAR_LR=2e-4 vmafx-sidecar config")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(as_json: bool) -> None:
    """Print the effective settings and where each comes from."""
    try:
        config.load()
    except config.ConfigError as error:
        for problem in error.problems:
            click.echo(problem, err=True)
        raise SystemExit(ExitCode.BAD_SETTINGS) from None
    rows = [
        {
            "variable": entry.metadata["name"],
            "value": os.environ.get(entry.metadata["name"], "").strip() or config.default_of(entry, os.environ),
            "from": config.origin(entry, os.environ),
            "about": entry.metadata["about"],
        }
        for entry in config.variables()
    ]
    if as_json:
        click.echo(json.dumps({row["variable"]: row for row in rows}, indent=2))
    else:
        _print_table(rows)
    for name in config.unknown(os.environ):
        click.echo(f"warning: {name} is not a setting of this version", err=True)


def _print_table(rows: list[dict[str, str]]) -> None:
    name_width = max(len(row["variable"]) for row in rows)
    value_width = max(len(row["value"]) for row in rows)
    for row in rows:
        click.echo(f"{row['variable']:<{name_width}}  {row['value']:<{value_width}}  {row['from']:<11}  {row['about']}")
