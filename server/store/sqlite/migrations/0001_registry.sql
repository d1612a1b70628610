-- The version of everything that the registry is made of: one row, one higher with each change.
CREATE TABLE registry (
  only_row INTEGER PRIMARY KEY NOT NULL CHECK (only_row = 1),
  version INTEGER NOT NULL
) STRICT;
INSERT INTO registry (only_row, version) VALUES (1, 0);

-- Request ids that were used. The primary key decides between twins.
CREATE TABLE requests (
  owner TEXT NOT NULL,
  method TEXT NOT NULL,
  request_id TEXT NOT NULL,
  payload_hash BLOB NOT NULL CHECK (length(payload_hash) = 32),
  resource TEXT NOT NULL,
  ends_at INTEGER NOT NULL,
  PRIMARY KEY (owner, method, request_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX requests_by_end ON requests (ends_at);
