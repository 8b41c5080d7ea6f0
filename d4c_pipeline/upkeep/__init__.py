"""Maintenance of published releases: fixity, repair, coverage, retention, torrents, DOI registration, recovery."""
