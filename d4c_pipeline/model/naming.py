"""Names of releases and their files, by the Data for Canada naming convention: one writer, one lenient parser.

The addresses of files belong to `addresses.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.model.version import Version
from d4c_pipeline.model.vintage import VINTAGE_PATTERN, Vintage

PART_PATTERN = r"[a-z0-9]+(?:[_-][a-z0-9]+)*"
REGION_PATTERN = r"[a-z]{2}(?:-[a-z]{2})?"
VARIANT_PATTERN = r"[a-z0-9]+(?:-[a-z0-9]+)*"
DGUID_PATTERN = r"\d{4}[A-Z]\d[0-9A-Z]*"

# The vintage is the last date-like token before the version, because themes contain years too
# (`federal_electoral_districts_2013_representation_order_digital_2021`); so `subject` is greedy.
_RELEASE = re.compile(
    rf"(?P<region>{REGION_PATTERN})_(?P<source>{PART_PATTERN})[-_](?P<dguid>{DGUID_PATTERN})"
    rf"_(?P<subject>{PART_PATTERN})_(?P<vintage>{VINTAGE_PATTERN})(?:_(?P<variant>{VARIANT_PATTERN}))?"
    rf"_v(?P<version>\d+\.\d+\.\d+(?:-[0-9a-z.]+)?)",
    re.ASCII,
)
_PACKAGE = re.compile(r"(?P<package>d4c-datapkg-[a-z0-9]+)(?:_(?P<theme>.+))?")


@dataclass(frozen=True)
class DatasetName:
    """The naming parts that all releases of a dataset share."""

    region: str
    source: str
    dguid: str
    package: str | None
    theme: str | None = None
    variant: str | None = None


@dataclass(frozen=True)
class ReleaseName:
    """The name of one release: naming parts, vintage and version."""

    dataset: DatasetName
    vintage: Vintage
    version: Version

    def __str__(self) -> str:
        """`{region}_{source}_{DGUID}_{package}_{theme}_{vintage}[_{variant}]_v{version}`."""
        return f"{latest_stem(self.dataset, self.vintage)}_v{self.version}"

    @classmethod
    def parse(cls, text: str) -> ReleaseName:
        """Read a release name as written here or as published earlier.

        Published names also join source and DGUID by a hyphen, lack the theme, or have a theme in place of the
        package. Raises PermanentError when `text` is not a release name.
        """
        match = _RELEASE.fullmatch(text)
        if match is None:
            raise PermanentError(
                f"'{text}' is not a release name",
                "It should read {region}_{source}_{DGUID}_{package}_{theme}_{vintage}[_{variant}]_v{version}",
            )
        package = _PACKAGE.fullmatch(match["subject"])
        return cls(
            DatasetName(
                region=match["region"],
                source=match["source"],
                dguid=match["dguid"],
                package=package["package"] if package else None,
                theme=package["theme"] if package else match["subject"],
                variant=match["variant"],
            ),
            Vintage.parse(match["vintage"]),
            Version.read(match["version"]),
        )


def latest_stem(name: DatasetName, vintage: Vintage | None) -> str:
    """Return the name without its version: the stem of the address that serves only the latest version.

    `vintage` is None for a rolling series, whose newest vintage supersedes the older vintages at one address.
    """
    parts = [name.region, name.source, name.dguid, name.package, name.theme, vintage and str(vintage), name.variant]
    return "_".join(part for part in parts if part)
