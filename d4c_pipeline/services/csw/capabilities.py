"""GetCapabilities, and the domains of parameters that it and GetDomain state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from d4c_pipeline.metadata.records.xml_document import Element, element, given
from d4c_pipeline.services.csw import documents
from d4c_pipeline.services.csw.dialects import DIALECTS, XLINK, Dialect
from d4c_pipeline.services.csw.filters import COMPARISONS, SPATIAL
from d4c_pipeline.services.csw.queryables import ALL
from d4c_pipeline.services.csw.records import SETS, schemas

FORMATS = ("application/xml", "text/xml")
ATOM_FORMAT = "application/atom+xml"
TYPE_NAMES = ("csw:Record", "csw30:Record", "gmd:MD_Metadata", "mdb:MD_Metadata")
LANGUAGES = ("CQL_TEXT", "FILTER")
RESULT_TYPES = ("hits", "results", "validate")
SECTIONS = ("ServiceIdentification", "ServiceProvider", "OperationsMetadata", "Filter_Capabilities")
_SHORT = {
    "PropertyIsEqualTo": "EqualTo",
    "PropertyIsNotEqualTo": "NotEqualTo",
    "PropertyIsLessThan": "LessThan",
    "PropertyIsGreaterThan": "GreaterThan",
    "PropertyIsLessThanOrEqualTo": "LessThanEqualTo",
    "PropertyIsGreaterThanOrEqualTo": "GreaterThanEqualTo",
    "PropertyIsLike": "Like",
    "PropertyIsNull": "NullCheck",
    "PropertyIsBetween": "Between",
}
_GEOMETRIES = ("Envelope", "Point", "LineString", "Polygon")
_CONFORMANCE = {
    **dict.fromkeys(
        ("ImplementsQuery", "ImplementsAdHocQuery", "ImplementsResourceId", "ImplementsMinStandardFilter"), True
    ),
    **dict.fromkeys(("ImplementsStandardFilter", "ImplementsMinSpatialFilter", "ImplementsSpatialFilter"), True),
    **dict.fromkeys(("ImplementsSorting", "ImplementsMinimumXPath"), True),
    **dict.fromkeys(("ImplementsFunctions", "ImplementsMinTemporalFilter", "ImplementsTemporalFilter"), False),
    **dict.fromkeys(("ImplementsVersionNav", "ImplementsExtendedOperators", "ImplementsSchemaElementFunc"), False),
}
_CLASSES = (
    "OpenSearch",
    "GetCapabilities-XML",
    "GetRecordById-XML",
    "GetRecords-Basic-XML",
    "GetRecords-Filter-XML",
    "GetRecords-Filter-FES-XML",
    "GetRecords-CQL",
    "Filter-FES-KVP",
    "Filter-CQL",
    "GetDomain-XML",
    "GetDomain-KVP",
)


@dataclass(frozen=True)
class Publisher:
    """Who publishes the catalogue. `contact`: an address of mail, None without one; `site`: of the publisher."""

    name: str
    contact: str | None
    site: str


def domains(dialect: Dialect) -> Mapping[str, Sequence[str]]:
    """Return the values of each parameter by `Operation.parameter`."""
    kinds = list(schemas(dialect))
    searched = [*FORMATS, ATOM_FORMAT]
    found: dict[str, Sequence[str]] = {
        "GetCapabilities.sections": SECTIONS,
        "GetRecords.typeNames": TYPE_NAMES,
        "GetRecords.outputSchema": kinds,
        "GetRecords.outputFormat": searched,
        "GetRecords.resultType": RESULT_TYPES,
        "GetRecords.ElementSetName": SETS,
        "GetRecords.CONSTRAINTLANGUAGE": LANGUAGES,
        "GetRecordById.outputSchema": kinds,
        "GetRecordById.outputFormat": searched,
        "GetRecordById.ElementSetName": SETS,
    }
    if not dialect.is_3:
        found |= {
            "DescribeRecord.typeName": TYPE_NAMES,
            "DescribeRecord.outputFormat": FORMATS,
            "DescribeRecord.schemaLanguage": ("http://www.w3.org/XML/Schema",),
        }
    return found


def capabilities(
    dialect: Dialect, address: str, publisher: Publisher, state: str, sections: Sequence[str], *, changed: bool = True
) -> bytes:
    """Return the capabilities. `state`: of the catalogue; `sections`: wanted, all if empty; without `changed` none."""
    wanted = {each.lower() for each in sections} - {"all"}
    made = {
        "ServiceIdentification": lambda: _identification(publisher),
        "ServiceProvider": lambda: _provider(publisher),
        "OperationsMetadata": lambda: _operations(dialect, address),
        "Filter_Capabilities": lambda: _filters_3() if dialect.is_3 else _filters_2(),
    }
    # The schema of 2.0.2 requires the filters.
    needed = {"filter_capabilities"} if not dialect.is_3 else set[str]()
    content = [
        make()
        for name, make in made.items()
        if name.lower() in needed or (changed and (not wanted or name.lower() in wanted))
    ]
    more = {"xlink": XLINK, "gml": dialect.gml, "fes" if dialect.is_3 else "ogc": dialect.fes}
    if dialect.is_3:
        more["ows11"] = "http://www.opengis.net/ows/1.1"
    attributes = {"version": dialect.version, "updateSequence": state}
    return documents.answer(dialect, "csw:Capabilities", attributes, content, **more)


def _identification(publisher: Publisher) -> Element:
    return element(
        "ows:ServiceIdentification",
        element("ows:Title", f"{publisher.name}: catalogue of releases"),
        element("ows:Abstract", "Published releases of datasets, in English and French; read-only"),
        element("ows:Keywords", [element("ows:Keyword", word) for word in ("catalogue", "open data", "metadata")]),
        element("ows:ServiceType", "CSW", attributes={"codeSpace": "OGC"}),
        [element("ows:ServiceTypeVersion", version) for version in DIALECTS],
        element("ows:Fees", "None"),
        element("ows:AccessConstraints", "None; each record states the licence of its data"),
    )


def _provider(publisher: Publisher) -> Element:
    mail = given("ows:ElectronicMailAddress", publisher.contact)
    contact = element("ows:ContactInfo", given("ows:Address", mail), _online("ows:OnlineResource", publisher.site))
    return element(
        "ows:ServiceProvider",
        element("ows:ProviderName", publisher.name),
        _online("ows:ProviderSite", publisher.site),
        element("ows:ServiceContact", element("ows:IndividualName", publisher.name), contact),
    )


def _online(name: str, address: str) -> Element:
    return element(name, attributes={"xlink:type": "simple", "xlink:href": address})


def _operations(dialect: Dialect, address: str) -> Element:
    stated = domains(dialect)
    names = ["GetCapabilities", "GetDomain", "GetRecords", "GetRecordById"]
    if not dialect.is_3:
        names.insert(1, "DescribeRecord")
    operations = []
    for name in names:
        parameters = [
            _domain(dialect, "ows:Parameter", parameter.partition(".")[2], values)
            for parameter, values in stated.items()
            if parameter.startswith(f"{name}.")
        ]
        if name == "GetDomain":
            parameters = [_domain(dialect, "ows:Parameter", "ParameterName", list(stated))]
        constraints = []
        if name == "GetRecords":
            constraints = [
                _domain(dialect, "ows:Constraint", "SupportedDublinCoreQueryables", [each.name for each in ALL])
            ]
        operations.append(
            element("ows:Operation", _bindings(dialect, address), parameters, constraints, attributes={"name": name})
        )
    common = [
        _domain(dialect, "ows:Parameter", "service", ["CSW"]),
        _domain(dialect, "ows:Parameter", "version", list(DIALECTS)),
    ]
    constraints = [_domain(dialect, "ows:Constraint", "PostEncoding", ["XML"])]
    if dialect.is_3:
        uri = "http://www.opengis.net/spec/csw/3.0/conf/{}"
        constraints += [_domain(dialect, "ows:Constraint", uri.format(name), ["TRUE"]) for name in _CLASSES]
        constraints.append(_domain(dialect, "ows:Constraint", "MaxRecordDefault", ["10"]))
        constraints.append(
            _domain(dialect, "ows:Constraint", "OpenSearchDescriptionDocument", [f"{address}/opensearch"])
        )
    return element("ows:OperationsMetadata", operations, common, constraints)


def _bindings(dialect: Dialect, address: str) -> Element:
    encoding = _domain(dialect, "ows:Constraint", "PostEncoding", ["XML"])
    where = {"xlink:type": "simple", "xlink:href": address}
    http = element("ows:HTTP", element("ows:Get", attributes=where), element("ows:Post", encoding, attributes=where))
    return element("ows:DCP", http)


def _domain(dialect: Dialect, kind: str, name: str, values: Iterable[str]) -> Element:
    listed = [element("ows:Value", value) for value in values]
    content = [element("ows:AllowedValues", listed)] if dialect.is_3 else listed
    return element(kind, content, attributes={"name": name})


def _filters_2() -> Element:
    operators = [element("ogc:SpatialOperator", attributes={"name": name}) for name in SPATIAL]
    return element(
        "ogc:Filter_Capabilities",
        element(
            "ogc:Spatial_Capabilities",
            element("ogc:GeometryOperands", [element("ogc:GeometryOperand", f"gml:{name}") for name in _GEOMETRIES]),
            element("ogc:SpatialOperators", operators),
        ),
        element(
            "ogc:Scalar_Capabilities",
            element("ogc:LogicalOperators"),
            element(
                "ogc:ComparisonOperators", [element("ogc:ComparisonOperator", _SHORT[name]) for name in COMPARISONS]
            ),
        ),
        element("ogc:Id_Capabilities", element("ogc:EID"), element("ogc:FID")),
    )


def _filters_3() -> Element:
    def named(name: str, values: Iterable[str]) -> list[Element]:
        return [element(f"fes:{name}", attributes={"name": value}) for value in values]

    conformance = [
        element(
            "fes:Constraint",
            element("ows11:NoValues"),
            element("ows11:DefaultValue", str(fulfilled).upper()),
            attributes={"name": name},
        )
        for name, fulfilled in _CONFORMANCE.items()
    ]
    return element(
        "fes:Filter_Capabilities",
        element("fes:Conformance", conformance),
        element("fes:Id_Capabilities", named("ResourceIdentifier", ["csw:id"])),
        element(
            "fes:Scalar_Capabilities",
            element("fes:LogicalOperators"),
            element("fes:ComparisonOperators", named("ComparisonOperator", COMPARISONS)),
        ),
        element(
            "fes:Spatial_Capabilities",
            element("fes:GeometryOperands", named("GeometryOperand", [f"gml:{name}" for name in _GEOMETRIES])),
            element("fes:SpatialOperators", named("SpatialOperator", SPATIAL)),
        ),
    )
