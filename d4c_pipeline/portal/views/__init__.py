"""What each kind of page shows, computed from facts without any I/O. Form and markup belong to `templates`."""
