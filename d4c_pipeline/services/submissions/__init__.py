"""The face of submissions and of the metadata manager: forms, pages, uploads. Decisions belong to `appraisal`."""
