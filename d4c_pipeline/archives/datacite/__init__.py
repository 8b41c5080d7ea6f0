"""DOIs from DataCite for files that lie in our own store."""
