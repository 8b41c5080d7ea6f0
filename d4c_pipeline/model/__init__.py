"""The nouns of the platform as small frozen types, and the rules that need no file, network or database.

Here belong vintages, versions, names, addresses, datasets as declared, releases and the error tree. What reads or
writes anything does not; this room imports nothing of ours. The words are those of docs/architecture.md.
"""
