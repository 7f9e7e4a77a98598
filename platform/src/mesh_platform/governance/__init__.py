"""The global rules of the mesh, which find every problem with its rule and its fix.

`registry` defines what a rule is, `rules/` has all rules, `scope` is their input, and `check` runs them. `waivers`
exempt a domain for a limited time, `consents` record which breaking changes a consumer accepts, `change/` compares
the mesh with git, and `report` writes the results.
"""
