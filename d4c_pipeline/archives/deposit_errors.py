"""The errors of a deposit that a person settles, with their remedies. When they are raised belongs to `deposit`."""

from __future__ import annotations

from collections.abc import Collection

from d4c_pipeline.archives.port import Archive, Draft, draft_names
from d4c_pipeline.model.errors import IntegrityError, NeedsPersonError, PermanentError
from d4c_pipeline.model.release import Release


def is_published(release: Release, doi: str | None) -> IntegrityError:
    """Return the error for the abandonment of a published release."""
    return IntegrityError(
        f"Release {release.name} is published as {doi} and can't be abandoned", "Publish a new version"
    )


def foreign_draft(release: Release, draft: Draft) -> NeedsPersonError:
    """Return the error for a draft of the release's concept that another client opened."""
    return NeedsPersonError(
        f"The concept of {release.name} has an open foreign draft: {draft_names([draft])}",
        "Publish or delete that draft at the archive, then run again",
    )


def edited(release: Release, draft: Draft, fields: Collection[str]) -> NeedsPersonError:
    """Return the error for a draft with edits of a person in `fields`, which a newer build replaces."""
    return NeedsPersonError(
        f"The draft of {release.name} was edited at the archive ({draft_names([draft])}: "
        f"{', '.join(fields)}), and a newer build replaces it",
        "Copy the edits to keep into the dataset's YAML, confirm with 'd4c archive edits "
        f"{release.name} --keep ours', then run again",
    )


def record_gone(archive: Archive, release: Release, cause: str) -> PermanentError:
    """Return the error for a missing record of the previous version."""
    if archive.test:
        return PermanentError(
            cause,
            "If the test archive was reset, delete its records from the ledger: "
            f"'d4c archive forget {release.dataset}'",
        )
    return PermanentError(
        cause, "Compare D4C_ARCHIVE_URL with the archive of the publication, and ask the archive's managers"
    )
