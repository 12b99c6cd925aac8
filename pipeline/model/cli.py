"""`vmafx-sidecar verify`."""

from pathlib import Path

import click
import msgspec


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the checks as one JSON object.")
@click.pass_context
def verify(context: click.Context, file: Path, as_json: bool) -> None:
    """Check a published ONNX FILE: digest, opset, operators, and a run in ONNX Runtime.

    Exits with 1 and the reason when one check fails.

    Example: vmafx-sidecar verify /mnt/vmafx-models/online/model_v000042.onnx
    """
    from pipeline.model import verify as verification

    try:
        checks = verification.verify(file)
    except OSError as error:
        raise click.ClickException(f"{file}: {error.strerror}") from None
    passed = all(check.passed for check in checks)
    if as_json:
        click.echo(msgspec.json.encode({"file": str(file), "ok": passed, "checks": checks}))
    else:
        for check in checks:
            click.echo(f"{'ok  ' if check.passed else 'FAIL'}  {check.name:<12} {check.detail}")
    context.exit(0 if passed else 1)
