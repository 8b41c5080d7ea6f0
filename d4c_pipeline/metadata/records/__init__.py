"""The records of a published release, a module per standard; `registry` finds them, `published` has their facts."""
