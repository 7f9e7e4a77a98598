"""The global rules of the mesh: a mesh arrives, every problem leaves, each with its rule and how to mend it.

`registry` says what a rule is, `rules/` has them all, `check` runs them, `waivers` lets a domain off for a while, and
`report` writes what was found.
"""
