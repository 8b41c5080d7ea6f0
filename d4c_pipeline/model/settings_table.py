"""The table of all settings, generated from their fields, for `d4c settings` and docs/settings.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, cast, get_args

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from d4c_pipeline.model.alerting import AlertSettings
from d4c_pipeline.model.appraisal_settings import AppraisalSettings
from d4c_pipeline.model.environment import EnvironmentSettings
from d4c_pipeline.model.limits import Limits
from d4c_pipeline.model.secrets import MASK, sanitise
from d4c_pipeline.model.seeding import SeedingSettings
from d4c_pipeline.model.service_access import ServiceAccess
from d4c_pipeline.model.service_settings import JobSettings
from d4c_pipeline.model.settings import ArchiveSecret, Settings
from d4c_pipeline.model.stores import Stores
from d4c_pipeline.model.ui_access import UiAccess

GROUPS: tuple[tuple[str, type[EnvironmentSettings]], ...] = (
    ("Deployment", Settings),
    ("Secret of the archive", ArchiveSecret),
    ("Limits on foreign files", Limits),
    ("Seeder", SeedingSettings),
    ("Access to the UI", UiAccess),
    ("Alerts", AlertSettings),
    ("Appraisal of submissions", AppraisalSettings),
    ("Subsets and jobs", JobSettings),
    ("Access to the services", ServiceAccess),
)
"""The groups of settings, in the order of their display."""


class Setting(NamedTuple):
    """A setting as documented; `value`: the present value, its secrets masked, empty if none is documented."""

    variable: str
    default: str
    unit: str
    description: str
    value: str = ""


def documented(settings: type[EnvironmentSettings]) -> list[Setting]:
    """Return all settings of a group."""
    return [_setting(field, "") for _, field in _fields(settings)]


def present(settings: EnvironmentSettings) -> list[Setting]:
    """Return all settings of a group with their values; secrets are masked."""
    return [_setting(field, _shown(getattr(settings, name))) for name, field in _fields(type(settings))]


def secret_variables() -> frozenset[str]:
    """Return the variables whose values are secret whatever they look like."""
    return frozenset(
        str(field.validation_alias)
        for _, group in GROUPS
        for _, field in _fields(group)
        if SecretStr in (field.annotation, *get_args(field.annotation))
    )


def _fields(settings: type[EnvironmentSettings]) -> Iterator[tuple[str, FieldInfo]]:
    return ((name, field) for name, field in settings.model_fields.items() if field.validation_alias is not None)


def _setting(field: FieldInfo, value: str) -> Setting:
    extra: Any = field.json_schema_extra
    default = extra["unset"] or _text(field.get_default(call_default_factory=True, validated_data={}), extra["unit"])
    return Setting(str(field.validation_alias), default, extra["unit"], str(field.description), value)


def _shown(value: Any) -> str:
    return sanitise(_text(value, ""))  # an address may contain a password


def _text(value: Any, unit: str) -> str:
    if isinstance(value, SecretStr):
        return MASK
    if isinstance(value, Stores):
        return ", ".join(place.name for place in (value.primary, *value.mirrors) if place is not None)
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, Mapping):
        pairs = cast("Mapping[str, str]", value)
        return ", ".join(f"{name}={text}" for name, text in pairs.items())
    if isinstance(value, (tuple, frozenset)):
        parts = cast("tuple[object, ...] | frozenset[str]", value)
        texts = [
            ":".join(map(str, cast("tuple[object, ...]", part))) if isinstance(part, tuple) else str(part)
            for part in parts
        ]
        return ", ".join(sorted(texts) if isinstance(value, frozenset) else texts)
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, int) and unit == "bytes":
        return f"{value >> 30} GiB" if value >= 1 << 30 else f"{value >> 20} MiB"
    return "" if value is None else str(value)
