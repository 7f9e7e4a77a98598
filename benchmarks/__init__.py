"""How fast the platform is, one question a module: `make bench`."""
