"""`vmafx-sidecar registry` with registries elsewhere: `push` and `pull`, and `list` and `verify` for both kinds."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.artifacts.reference import Reference, is_url
from pipeline.console.mistakes import in_one_line
from pipeline.registry import cli as local

if TYPE_CHECKING:
    from pipeline.artifacts.signature import Signer, Trust
    from pipeline.artifacts.store import Store


class _Url(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.5 on
    name = "url"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Reference:
        try:
            return Reference.parse(str(value))
        except ValueError as error:
            self.fail(f"expected {error}", param, ctx)


class _UrlOrDirectory(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.5 on
    name = "url"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Reference | Path:
        if is_url(str(value)):
            return _Url().convert(value, param, ctx)
        directory: Path = click.Path(path_type=Path, exists=True, file_okay=False).convert(str(value), param, ctx)
        return directory


_public_key = click.option(
    "--public-key",
    type=click.Path(path_type=Path),
    envvar="VMAFX_REGISTRY_PUBLIC_KEY",
    help="Take only what this key has signed.  [default: VMAFX_REGISTRY_PUBLIC_KEY]",
)


_url_or_directory = click.argument("where", default=".", type=_UrlOrDirectory(), metavar="[URL|DIRECTORY]")


@click.group()
def registry() -> None:
    r"""Keep models in a directory's registry.json, or in a registry elsewhere.

    \b
    oci://HOST/REPOSITORY       an OCI registry; oci+http:// without TLS
    s3://BUCKET/PREFIX          an object store; also gs:// and az://
    file:///PATH                a directory, which may be a share

    With :TAG or @sha256:DIGEST a URL means one model.
    """


registry.add_command(local.registry.commands["add"])


@registry.command(epilog="Example: vmafx-sidecar registry push models/base.onnx oci://registry.example/vmaf/base:v1")
@click.argument("model", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("url", type=_Url())
@click.option(
    "--sign-key",
    type=click.Path(path_type=Path),
    envvar="VMAFX_REGISTRY_SIGN_KEY",
    help="Private key to sign with.  [default: VMAFX_REGISTRY_SIGN_KEY]",
)
def push(model: Path, url: Reference, sign_key: Path | None) -> None:
    """Push MODEL, a base model or a checkpoint, with what lies beside it; print what names it.

    With a TAG, that leads to it then, wherever it led before.
    """
    from pipeline.artifacts.published import name_of, of_checkpoint, of_model
    from pipeline.artifacts.transfer import push as transfer
    from pipeline.checkpoints.names import version_of_model

    with _mistakes():
        store, version = _open(url), version_of_model(model)
        artifact = of_model(model) if version is None else of_checkpoint(model.parent, version)
        digest = transfer(store, artifact, name_of(artifact), _signer(sign_key))
        if url.tag:
            store.point(url.tag, digest, store.pointer(url.tag))
    click.echo(url.at(digest))


@registry.command(epilog="Example: vmafx-sidecar registry pull oci://registry.example/vmaf/base:v1 models")
@click.argument("url", type=_Url())
@click.argument("directory", default=".", type=click.Path(path_type=Path, exists=True, file_okay=False))
@_public_key
def pull(url: Reference, directory: Path, public_key: Path | None) -> None:
    """Fetch a model into DIRECTORY, verified; print its path. Without TAG and DIGEST: latest-stable."""
    from pipeline.artifacts.reference import LATEST_STABLE
    from pipeline.artifacts.transfer import pull as transfer
    from pipeline.artifacts.transfer import resolve

    with _mistakes():
        store = _open(url)
        named = url if url.names_a_model else Reference(url.scheme, url.place, LATEST_STABLE)
        artifact = transfer(store, resolve(store, named), _trust(public_key))
        model, _ = artifact.check()
        for name in sorted(artifact.files, key=lambda name: name == model):  # last: who sees it finds its digest
            _write(directory / name, artifact.files[name])
    click.echo(directory / model)


def _write(path: Path, data: bytes) -> None:
    """Write a file; one of that name stays, and has to hold the same."""
    from pipeline.runtime.durable import write_durably

    try:
        write_durably(path, data, replace=False)
    except FileExistsError:
        if path.read_bytes() != data:
            raise click.ClickException(f"{path}: is there already, with other content") from None


@registry.command("list", epilog="Example: vmafx-sidecar registry list oci://registry.example/vmaf/base")
@_url_or_directory
@click.pass_context
def list_(context: click.Context, where: Reference | Path) -> None:
    """List the models of a registry elsewhere, or of a DIRECTORY, which is the one you are in where none is given."""
    if isinstance(where, Path):
        context.invoke(local.registry.commands["list"], directory=where)
        return
    with _mistakes():
        store = _open(where)
        listed = _models(store, where)
        for each in listed:
            click.echo(_line(store, each))
    if not listed:
        click.echo(f"{where}: no models")


@registry.command(epilog="Example: vmafx-sidecar registry verify oci://registry.example/vmaf/base")
@_url_or_directory
@_public_key
@click.pass_context
def verify(context: click.Context, where: Reference | Path, public_key: Path | None) -> None:
    """Check that every model, or the one named, is whole, has its digest, and is signed where a key is given.

    Exits with 1 if one is not.
    """
    if isinstance(where, Path):
        context.invoke(local.registry.commands["verify"], directory=where)
        return
    with _mistakes():
        store, trust = _open(where), _trust(public_key)
        models = _models(store, where)
        faults = [fault for each in models if (fault := _fault(store, each, trust))]
    for fault in faults:
        click.echo(fault, err=True)
    if faults:
        raise click.ClickException(f"{len(faults)} of {len(models)} models failed")
    click.echo("1 model is intact" if len(models) == 1 else f"{len(models)} models are intact")


def _models(store: Store, where: Reference) -> list[Reference]:
    """Return what is meant: the model that is named, else all."""
    if where.names_a_model:
        return [where]
    return [Reference(where.scheme, where.place, name) for name in store.names() if not name.endswith(".sig")]


def _line(store: Store, model: Reference) -> str:
    """Return what a registry says of a model, unverified."""
    from pipeline.artifacts.artifact import BASE_SHA256, CREATED
    from pipeline.artifacts.faults import RegistryFault
    from pipeline.artifacts.transfer import manifest_of, resolve

    try:
        digest = resolve(store, model)
        said = manifest_of(store, digest).annotations
    except RegistryFault as fault:
        return f"{model.tag or model.digest}  {fault.kind}: {fault}"
    base = said.get(BASE_SHA256, "")[:12]
    return "  ".join(filter(None, [model.tag, digest, said.get(CREATED, ""), f"base {base}" if base else ""]))


def _fault(store: Store, model: Reference, trust: Trust | None) -> str:
    """Return what is wrong with a model; empty for nothing."""
    from pipeline.artifacts.artifact import MODEL_TYPE
    from pipeline.artifacts.faults import RegistryFault
    from pipeline.artifacts.transfer import pull, resolve

    try:
        artifact = pull(store, resolve(store, model), trust)
        if artifact.kind == MODEL_TYPE:
            artifact.check()
    except RegistryFault as fault:
        return f"{model}: {fault.kind}: {fault}"
    return ""


def _open(url: Reference) -> Store:
    from pipeline.artifacts.store import open_store

    return open_store(url)


def _signer(key: Path | None) -> Signer | None:
    from pipeline.artifacts.signature import Signer

    return Signer(key) if key is not None else None


def _trust(key: Path | None) -> Trust | None:
    from pipeline.artifacts.signature import Trust

    return Trust.of(key)


def _mistakes() -> AbstractContextManager[None]:
    from pipeline.artifacts.faults import Moved, RegistryFault
    from pipeline.checkpoints.checkpoint import CheckpointError

    return in_one_line(RegistryFault, CheckpointError, Moved)
