"""The rules, one module for each concern. A new rule is a function here, with a mesh that breaks it in the tests."""
