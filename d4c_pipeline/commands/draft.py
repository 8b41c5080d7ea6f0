"""`d4c draft`: a declaration of a source that runs, with the evidence of every field. The room `drafting` makes it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from d4c_pipeline.commands.common import AsJson, Debug, Home, err, out, print_json, read_settings


def draft(
    source: Annotated[str, typer.Argument(help="Address (http, https, s3), number of a table, file or folder.")],
    into: Annotated[
        Path | None, typer.Option("--into", help="Folder of definitions to write to; without it the YAML is printed.")
    ] = None,
    metadata: Annotated[
        Path | None, typer.Option("--metadata", help="A record about the data: ISO 19115, CKAN, DCAT, table, layer.")
    ] = None,
    identifier: Annotated[
        str | None, typer.Option("--id", help="Id of the dataset; by default from its title.")
    ] = None,
    package: Annotated[
        str | None, typer.Option("--package", help="Package of the dataset; 'd4c-datapkg-' may be left out.")
    ] = None,
    read: Annotated[bool, typer.Option("--read/--no-read", help="Read the data: key, columns, types.")] = True,
    most_megabytes: Annotated[
        int, typer.Option("--most-megabytes", min=1, help="Data beyond this size are not read.")
    ] = 500,
    endpoint: Annotated[
        str | None, typer.Option("--endpoint", help="Address of an S3 service other than Amazon's, for s3://...")
    ] = None,
    with_sql: Annotated[
        bool, typer.Option("--sql", help="Also write a transform.sql that names every column.")
    ] = False,
    home: Home = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Draft the definition of a source: its fields with evidence, and marks where a person must fill or translate."""
    from d4c_pipeline.drafting import draft as drafted

    settings = read_settings(home, None, debug)
    made = drafted(
        source,
        settings,
        metadata=metadata,
        identifier=identifier,
        package=package,
        read=read,
        most_bytes=most_megabytes << 20,
        endpoint=endpoint,
        with_sql=with_sql,
    )
    written = made.write(into.expanduser().absolute()) if into is not None else None
    if as_json:
        print_json({**made.to_json(), "path": str(written) if written is not None else None})
        return
    if written is None:
        sys.stdout.write(made.yaml())
    else:
        out.print(f"{written}: {len(made.fields)} fields", markup=False)
    # On stderr, so that the printed YAML may be redirected into a file.
    for gap in made.gaps:
        err.print(f"  {gap.field}: {gap.sentence}", markup=False)
