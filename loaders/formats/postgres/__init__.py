"""PostgreSQL, with a server of the store's own or one of the user's."""
