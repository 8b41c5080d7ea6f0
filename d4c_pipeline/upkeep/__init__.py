"""What keeps published releases whole: fixity, repair, coverage, retention, re-issue, registration, recovery."""
