"""The catalogue of derivations: every entry as data. Adding one is one ``Entry`` in a module here."""
