"""The global rules of the mesh: a mesh arrives, every problem leaves, each with its rule and how to mend it.

`registry` says what a rule is, `rules/` has them all, `scope` is what they look at, and `check` runs them. `waivers`
lets a domain off for a while, `consents` says which breaking changes a consumer agreed to, `change/` compares with
what git has, and `report` writes what was found.
"""
