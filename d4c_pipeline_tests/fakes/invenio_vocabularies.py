"""Ids of InvenioRDM 14's own vocabularies, as the fake has them.

Source: `invenio_rdm_records/fixtures/data/vocabularies`.
"""

from __future__ import annotations

FUNDER = "01h531d29"
"""The one ROR id that the fake's vocabulary of funders has."""


def _ids(text: str) -> frozenset[str]:
    return frozenset(text.split())


ROLES = _ids(
    "contactperson datacollector datacurator datamanager distributor editor hostinginstitution producer projectleader "
    "projectmanager projectmember registrationagency registrationauthority relatedperson researcher researchgroup "
    "rightsholder sponsor supervisor translator workpackageleader other"
)
RELATIONS = _ids(
    "iscitedby cites issupplementto issupplementedby iscontinuedby continues isdescribedby describes hasmetadata "
    "ismetadatafor hasversion isversionof isnewversionof ispreviousversionof ispartof haspart ispublishedin "
    "isreferencedby references isdocumentedby documents iscompiledby compiles isvariantformof isoriginalformof "
    "isidenticalto isreviewedby reviews isderivedfrom issourceof isrequiredby requires isobsoletedby obsoletes "
    "istranslationof hastranslation iscollectedby collects other"
)
DESCRIPTIONS = _ids("abstract methods series-information table-of-contents technical-info other")
