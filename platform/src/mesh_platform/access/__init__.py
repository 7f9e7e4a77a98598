"""Rights: who may use which queue, table and object, derived from contracts and SQL, and enforced by the servers."""
