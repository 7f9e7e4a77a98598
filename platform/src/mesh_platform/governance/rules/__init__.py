"""The rules, a module for each concern. A new one is a function here, and a mesh that breaks it in the tests."""
