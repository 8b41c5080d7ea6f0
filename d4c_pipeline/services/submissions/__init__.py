"""The face of submissions: form, private page, managers' pages, uploads. Decisions belong to `appraisal`."""
