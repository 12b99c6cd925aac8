"""archive: keeps every accepted sample on disk, as Parquet."""
