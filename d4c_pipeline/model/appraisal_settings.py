"""The settings of appraisal: submissions, the metadata manager, the policy that applies, mail to submitters."""

from __future__ import annotations

from pydantic import SecretStr

from d4c_pipeline.model.environment import ByteCount, EnvironmentSettings, Flag, OptionalPath, variable
from d4c_pipeline.model.mail_server import mail_server


class AppraisalSettings(EnvironmentSettings):
    """How submissions are taken and appraised."""

    is_open: Flag = variable(
        "D4C_SUBMISSIONS", "The services take submissions, and the portal links to their form.", default=False
    )
    manages_metadata: Flag = variable(
        "D4C_METADATA_MANAGER",
        "The services let specialists edit metadata in a form at /metadata, which commits to git.",
        default=False,
    )
    without_git: Flag = variable(
        "D4C_METADATA_WITHOUT_GIT",
        "The form also writes definitions in folders that are no git repository, where nobody sees who changed what.",
        default=False,
    )
    quarantine: ByteCount = variable(
        "D4C_QUARANTINE_BYTES",
        "Size of the uploads of all submissions past which no upload is taken.",
        default=100 << 30,
        unit="bytes",
    )
    policy: OptionalPath = variable(
        "D4C_APPRAISAL_POLICY",
        "File of the appraisal policy.",
        unset="the policy of the package",
    )
    alternatives: OptionalPath = variable(
        "D4C_APPRAISAL_ALTERNATIVES",
        "File with the repositories that are named to submitters who are declined.",
        unset="the list of the package",
    )
    mail: SecretStr | None = variable(
        "D4C_SUBMISSIONS_MAIL",
        "Apprise address of the mail server that tells submitters of changes, with `from` and without `to`; secret, "
        "never shown, never stored.",
    )
    mail_file: OptionalPath = variable("D4C_SUBMISSIONS_MAIL_FILE", "A file that holds the address instead.")

    def mail_server(self) -> str | None:
        """Return the address of the mail server, declared secret for this process; None without one.

        Raises PermanentError for an unreadable file, and for an address that is no mail server.
        """
        return mail_server("D4C_SUBMISSIONS_MAIL", self.mail, self.mail_file)
