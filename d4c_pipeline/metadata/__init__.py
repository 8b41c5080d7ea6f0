"""A release's metadata and the records made of it: DataCite, citation, README."""
