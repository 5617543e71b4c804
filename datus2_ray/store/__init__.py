"""Files and tables: storage, schemas, the run folder."""
