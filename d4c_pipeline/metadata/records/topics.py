"""Topics of a release in the terms of ISO 19115 and of NASA's GCMD science keywords, derived from its English words.

A declaration has no topic of its own; keywords and title decide by the table below, whole words only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from d4c_pipeline.metadata.published import PublishedMetadata
from d4c_pipeline.metadata.records.documents import plain


@dataclass(frozen=True)
class Topic:
    """A topic category of ISO 19115 (MD_TopicCategoryCode), its name at GCMD, and GCMD's topic, term, variable."""

    code: str
    gcmd_name: str
    science: tuple[str, str, str | None]


_HUMAN = "HUMAN DIMENSIONS"
_ECONOMY = Topic("economy", "ECONOMY", (_HUMAN, "ECONOMIC RESOURCES", None))
_LOCATION = Topic("location", "LOCATION", (_HUMAN, "BOUNDARIES", None))
TOPICS: tuple[tuple[str, Topic], ...] = (
    (
        r"boundar(y|ies)|provinces?|territor(y|ies)|divisions?|subdivisions?|ridings?|electoral|wards?|municipalit(y|ies)",
        Topic("boundaries", "BOUNDARIES", (_HUMAN, "BOUNDARIES", "ADMINISTRATIVE DIVISIONS")),
    ),
    (
        r"roads?|streets?|transport\w*|transit|bus(es)?|stops?|rail\w*|ferr(y|ies)|traffic|airports?|cycling",
        Topic("transportation", "TRANSPORTATION", (_HUMAN, "INFRASTRUCTURE", "TRANSPORTATION")),
    ),
    (
        r"econom\w*|prices?|rates?|interest|trade|labour|employment|business(es)?|finance|exchange",
        _ECONOMY,
    ),
    (
        r"population|census|demograph\w*|society|culture|schools?|education|languages?|housing|households?",
        Topic("society", "SOCIETY", (_HUMAN, "POPULATION", None)),
    ),
    (
        r"health|hospitals?|disease|clinics?",
        Topic("health", "HEALTH", (_HUMAN, "PUBLIC HEALTH", None)),
    ),
    (
        r"hazards?|floods?|earthquakes?|wildfires?|seismic",
        Topic("disaster", "DISASTER", (_HUMAN, "NATURAL HAZARDS", None)),
    ),
    (
        r"rivers?|lakes?|watersheds?|hydro\w*",
        Topic("inlandWaters", "INLAND WATERS", ("TERRESTRIAL HYDROSPHERE", "SURFACE WATER", None)),
    ),
    (
        r"climate|weather|temperature|precipitation",
        Topic(
            "climatologyMeteorologyAtmosphere",
            "CLIMATOLOGY/METEOROLOGY/ATMOSPHERE",
            ("ATMOSPHERE", "ATMOSPHERIC TEMPERATURE", None),
        ),
    ),
    (
        r"elevation|terrain|topography",
        Topic("elevation", "ELEVATION", ("LAND SURFACE", "TOPOGRAPHY", "TERRAIN ELEVATION")),
    ),
    (
        r"parcels?|cadast\w+|zoning|land use",
        Topic(
            "planningCadastre",
            "PLANNING CADASTRE",
            (_HUMAN, "ENVIRONMENTAL GOVERNANCE/MANAGEMENT", "LAND MANAGEMENT"),
        ),
    ),
    (
        r"buildings?|address(es)?|facilit(y|ies)",
        Topic("structure", "STRUCTURE", (_HUMAN, "INFRASTRUCTURE", None)),
    ),
)


def topics(published: PublishedMetadata) -> tuple[Topic, ...]:
    """Return the topics in the order of the table: at least one, `location` with a geometry and `economy` without."""
    return topics_of((*published.keywords.en, published.title.en), spatial=bool(published.geometry_types))


def topics_of(texts: Iterable[str], *, spatial: bool) -> tuple[Topic, ...]:
    """Return the topics that English `texts` name; see `topics`."""
    words = " ".join(map(plain, texts))
    found = [topic for pattern, topic in TOPICS if re.search(rf"\b(?:{pattern})\b", words, re.IGNORECASE)]
    return tuple(found) or ((_LOCATION if spatial else _ECONOMY),)
