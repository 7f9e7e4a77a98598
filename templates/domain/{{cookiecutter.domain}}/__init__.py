"""The domain {{ cookiecutter.domain }}."""
