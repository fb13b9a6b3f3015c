"""The queue and the ledger: the only room that knows SQLAlchemy."""
