"""The portal: a static site in English and French of all published releases.

`site` builds it from `facts` that `chain.portal` collects: `views` turn them into what a page shows, `templates` and
`words` into HTML, `site` writes what changed. `web` has the sources of the `bundle` for browsers. Nothing here
reads ledger or stores.
"""
