"""New domains and products from the template, and updates of domains to a newer template."""
