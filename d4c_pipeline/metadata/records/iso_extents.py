"""The elements of an extent that ISO 19139 and ISO 19115-3 write alike, but for the namespace of their names."""

from __future__ import annotations

from d4c_pipeline.metadata.published import Bounds
from d4c_pipeline.metadata.records.xml_document import Element, element
from d4c_pipeline.model.vintage import Vintage


def temporal_element(prefix: str, period: Vintage) -> Element:
    """Return the period of the data in UTC; `prefix`: of the extent's namespace (`gmd`, `gex`)."""
    return element(
        f"{prefix}:temporalElement",
        element(
            f"{prefix}:EX_TemporalExtent",
            element(
                f"{prefix}:extent",
                element(
                    "gml:TimePeriod",
                    element("gml:beginPosition", f"{period.start:%Y-%m-%dT%H:%M:%SZ}"),
                    element("gml:endPosition", f"{period.end:%Y-%m-%dT%H:%M:%SZ}"),
                    attributes={"gml:id": "vintage"},
                ),
            ),
        ),
    )


def bounding_box(prefix: str, box: Bounds) -> Element:
    """Return a box in degrees; `prefix`: of the extent's namespace (`gmd`, `gex`)."""
    west, south, east, north = (element("gco:Decimal", f"{side:.8f}".rstrip("0").rstrip(".")) for side in box)
    return element(
        f"{prefix}:EX_GeographicBoundingBox",
        element(f"{prefix}:westBoundLongitude", west),
        element(f"{prefix}:eastBoundLongitude", east),
        element(f"{prefix}:southBoundLatitude", south),
        element(f"{prefix}:northBoundLatitude", north),
    )
