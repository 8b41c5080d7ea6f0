"""DOIs from DataCite for files in our own store."""
