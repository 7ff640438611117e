"""``gatemill cluster``: a Dask scheduler with workers for ``gatemill sweep --scheduler``."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gen.commands.common import JsonOption, emit, integer, note
from gen.errors import RequestError

if TYPE_CHECKING:
    from gen.sweep.cluster import Certificates


def cluster(
    *,
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Where the scheduler listens.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", metavar="N", help="Its port; 0 for any that is free.")
    ] = 8786,
    workers: Annotated[
        int | None, typer.Option("--workers", metavar="N", help="Points at a time on this machine.")
    ] = None,
    tls_ca: Annotated[
        Path | None, typer.Option("--tls-ca", metavar="FILE", help="The authority's certificate.")
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option("--tls-cert", metavar="FILE", help="This machine's certificate.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="Its key.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Run a Dask scheduler and workers until an interrupt; on the loopback, or with TLS for others, too."""
    integer("--port", port, 0, 65535)
    if workers is not None:
        integer("--workers", workers, 0, 1024)
    from gen.sweep import cluster as dask
    from gen.sweep.executors import processors

    certificates = _certificates(tls_ca, tls_cert, tls_key)
    count = processors() if workers is None else workers
    with ExitStack() as stack:
        address, processes = stack.enter_context(
            dask.running(host=host, port=port, workers=count, certificates=certificates)
        )
        document = {"scheduler": address, "workers": count}
        emit(document, as_json=as_json, render=lambda: f"gatemill sweep SPEC.toml --scheduler {address}")
        note(f"{count} workers; an interrupt ends them")
        dask.watch(processes, note)
    note("gatemill: the scheduler, or every worker, has ended")
    raise typer.Exit(1)


def _certificates(*files: Path | None) -> Certificates | None:
    from gen.sweep.cluster import Certificates

    there = [file for file in files if file is not None]
    if not there:
        return None
    if len(there) < len(files):
        raise RequestError("--tls-ca, --tls-cert, --tls-key: all of them must be given, or none")
    for file in there:
        if not file.is_file():
            raise RequestError(f"--tls-* {str(file)!r}: must be a file that is there")
    authority, certificate, key = (file.resolve() for file in there)
    return Certificates(authority=authority, certificate=certificate, key=key)
