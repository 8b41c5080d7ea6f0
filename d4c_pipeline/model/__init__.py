"""The nouns of the platform as small frozen types, and the rules that need no file, network or database.

Vintages, versions, names, addresses, declared datasets, releases and the error tree belong here. Reading and writing
data does not. This room imports no other room. docs/architecture.md defines the terms.
"""
