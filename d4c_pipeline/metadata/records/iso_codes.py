"""The code lists of ISO 19139 and of its Canadian profile, the Harmonized NAP, as elements.

The profile states each code as its number in the register of CAN/CGSB-171.100-2009, with both languages as text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from d4c_pipeline.metadata.records.xml_document import Element, element

_ISO_LISTS = "http://standards.iso.org/iso/19139/resources/gmxCodelists.xml#"
_NAP_REGISTER = "http://nap.geogratis.gc.ca/metadata/register/napMetadataRegister.xml#"
# Code -> number in the register, French word.
_NAP_CODES: Mapping[str, tuple[str, Mapping[str, tuple[str, str]]]] = {
    "CI_DateTypeCode": ("IC_87", {"creation": ("RI_366", "création"), "publication": ("RI_367", "publication")}),
    "CI_OnLineFunctionCode": (
        "IC_88",
        {"download": ("RI_375", "téléchargement"), "information": ("RI_376", "information")},
    ),
    "CI_RoleCode": (
        "IC_90",
        {
            "resourceProvider": ("RI_408", "fournisseurRessource"),
            "custodian": ("RI_409", "conservateur"),
            "owner": ("RI_410", "propriétaire"),
            "distributor": ("RI_412", "distributeur"),
            "originator": ("RI_413", "auteur"),
            "pointOfContact": ("RI_414", "contact"),
            "principalInvestigator": ("RI_415", "chercheurPrincipal"),
            "processor": ("RI_416", "traiteur"),
            "publisher": ("RI_417", "éditeur"),
            "author": ("RI_418", "créateur"),
        },
    ),
    "MD_CharacterSetCode": ("IC_95", {"utf8": ("RI_458", "utf8")}),
    "MD_KeywordTypeCode": ("IC_101", {"theme": ("RI_528", "thème")}),
    "MD_MaintenanceFrequencyCode": (
        "IC_102",
        {
            "continual": ("RI_532", "continue"),
            "daily": ("RI_533", "quotidien"),
            "weekly": ("RI_534", "hebdomadaire"),
            "fortnightly": ("RI_535", "quinzomadaire"),
            "monthly": ("RI_536", "mensuel"),
            "quarterly": ("RI_537", "trimestriel"),
            "biannually": ("RI_538", "semestriel"),
            "annually": ("RI_539", "annuel"),
            "asNeeded": ("RI_540", "auBesoin"),
            "irregular": ("RI_541", "irrégulier"),
            "notPlanned": ("RI_542", "nonPlanifié"),
        },
    ),
    "MD_ProgressCode": ("IC_106", {"completed": ("RI_593", "complété"), "obsolete": ("RI_595", "périmé")}),
    "MD_RestrictionCode": ("IC_107", {"license": ("RI_606", "licence")}),
    "MD_ScopeCode": ("IC_108", {"dataset": ("RI_622", "jeuDonnées")}),
    "MD_SpatialRepresentationTypeCode": (
        "IC_109",
        {"vector": ("RI_635", "vecteur"), "textTable": ("RI_637", "texteTable")},
    ),
}  # fmt: skip


@dataclass(frozen=True)
class CodeLists:
    """ISO 19139 itself, or the Harmonized NAP."""

    hnap: bool

    def code(self, name: str, value: str) -> Element:
        """Return a code of a list."""
        if not self.hnap:
            return element(f"gmd:{name}", value, attributes={"codeList": _ISO_LISTS + name, "codeListValue": value})
        number, codes = _NAP_CODES[name]
        code, french = codes[value]
        return element(
            f"gmd:{name}",
            f"{value}; {french}",
            attributes={"codeList": _NAP_REGISTER + number, "codeListValue": code},
        )

    def language(self, code: str) -> Element:
        """Return a language of ISO 639-2."""
        if self.hnap:
            return element("gmd:language", element("gco:CharacterString", f"{code}; CAN"))
        attributes = {"codeList": f"{_ISO_LISTS}LanguageCode", "codeListValue": code}
        return element("gmd:language", element("gmd:LanguageCode", code, attributes=attributes))

    def locale(self) -> Element:
        """Return the declaration of French, which localised texts refer to."""
        language = {"codeList": f"{_ISO_LISTS}LanguageCode", "codeListValue": "fra"}
        if self.hnap:
            language["codeList"] = f"{_NAP_REGISTER}IC_116"
        country = element(
            "gmd:country",
            element(
                "gmd:Country",
                "Canada; Canada",
                attributes={"codeList": f"{_NAP_REGISTER}IC_117", "codeListValue": "CAN"},
            ),
        )
        return element(
            "gmd:locale",
            element(
                "gmd:PT_Locale",
                element(
                    "gmd:languageCode",
                    element("gmd:LanguageCode", "French; Français" if self.hnap else "fra", attributes=language),
                ),
                country if self.hnap else None,
                element("gmd:characterEncoding", self.code("MD_CharacterSetCode", "utf8")),
                attributes={"id": "fra"},
            ),
        )
