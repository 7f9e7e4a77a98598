"""New domains and products from the template, and domains that keep up with it."""
