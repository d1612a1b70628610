-- Who changed what, in the order in which it was kept. AUTOINCREMENT: a number is never used again.
CREATE TABLE audit (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  id TEXT NOT NULL UNIQUE,
  at INTEGER NOT NULL,
  actor TEXT NOT NULL,
  api_key TEXT NOT NULL,
  method TEXT NOT NULL,
  resource TEXT NOT NULL,
  before_hash BLOB,
  after_hash BLOB,
  outcome TEXT NOT NULL,
  reason TEXT NOT NULL,
  peer_address TEXT NOT NULL,
  request_id TEXT NOT NULL,
  changed_fields TEXT NOT NULL
) STRICT;
CREATE INDEX audit_by_actor ON audit (actor, sequence);
CREATE INDEX audit_by_method ON audit (method, sequence);
CREATE INDEX audit_by_resource ON audit (resource, sequence);
CREATE INDEX audit_by_time ON audit (at);
