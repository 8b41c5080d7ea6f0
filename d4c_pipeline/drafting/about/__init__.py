"""Documents that describe data, each format in its own module: a document in, facts with evidence out.

The modules are pure functions over parsed documents. `reading` recognises the format of a file.
"""
