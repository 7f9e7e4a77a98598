"""One policy of personal data: who sees what of a table, in SQL and as read restrictions for other engines."""
