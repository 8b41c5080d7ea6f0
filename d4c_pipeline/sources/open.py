"""Opens the source of a declaration: the only module that knows which module implements which protocol."""

from __future__ import annotations

from collections.abc import Mapping

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.family import Family
from d4c_pipeline.model.sources import (
    ArcGisSource,
    CkanSource,
    FolderSource,
    HttpSource,
    S3Source,
    StatCanTableSource,
)
from d4c_pipeline.sources.arcgis import ArcGisLayer
from d4c_pipeline.sources.ckan import CkanPackage
from d4c_pipeline.sources.declared import WebSource
from d4c_pipeline.sources.folder import DropFolder
from d4c_pipeline.sources.http import HttpFiles
from d4c_pipeline.sources.members import Members
from d4c_pipeline.sources.port import Source
from d4c_pipeline.sources.s3 import S3Objects
from d4c_pipeline.sources.statcan_members import StatCanMembers
from d4c_pipeline.sources.statcan_table import StatCanTable
from d4c_pipeline.transport.patience import Patience


def open_source(
    dataset: Dataset, origins: Mapping[str, str], *, patience: Patience | None = None, guarded: bool = False
) -> Source:
    """Return the source of `dataset`, without a request. `origins` rewrites the origins of its addresses.

    `patience` replaces the declared time-outs, for callers with less time, such as a sensor. `guarded`: every address
    must be public when it is connected to, also the declared ones, which a stranger wrote.
    """
    source = _opened(dataset, origins, patience)
    if guarded and isinstance(source, WebSource):
        source.guarded = True
    return source


def _opened(dataset: Dataset, origins: Mapping[str, str], patience: Patience | None) -> Source:
    vintages = dataset.fixed_vintages
    match dataset.source:
        case HttpSource() as declared:
            return HttpFiles(declared, origins=origins, vintages=vintages, folder=dataset.folder, patience=patience)
        case StatCanTableSource() as declared:
            return StatCanTable(declared, origins=origins, patience=patience)
        case CkanSource() as declared:
            return CkanPackage(declared, origins=origins, vintages=vintages, patience=patience)
        case ArcGisSource() as declared:
            return ArcGisLayer(declared, origins=origins, vintages=vintages, patience=patience)
        case S3Source() as declared:
            return S3Objects(declared, origins=origins, vintages=vintages, patience=patience)
        case FolderSource() as declared:
            return DropFolder(declared, vintages=vintages)


def open_members(family: Family, origins: Mapping[str, str], *, patience: Patience | None = None) -> Members:
    """Return the service that lists the members of `family`, without a request."""
    return StatCanMembers(family.members.service, origins=origins, patience=patience)
