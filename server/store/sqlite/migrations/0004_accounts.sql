-- Accounts at providers. A secret is sealed, or a reference to where the server reads it, or not there.
CREATE TABLE accounts (
  id TEXT PRIMARY KEY NOT NULL,
  provider TEXT NOT NULL,
  display_name TEXT NOT NULL,
  sealed_by TEXT,
  sealed BLOB,
  secret_ref TEXT,
  key_hint TEXT NOT NULL,
  key_fingerprint TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('active', 'disabled', 'credentials_rejected')),
  origin TEXT NOT NULL,
  settings_json TEXT NOT NULL,
  version INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  CHECK ((sealed IS NULL) = (sealed_by IS NULL)),
  CHECK (sealed IS NULL OR secret_ref IS NULL)
) STRICT;
CREATE INDEX accounts_by_provider ON accounts (provider, id);

-- Keys of callers: the hash of each secret, never the secret.
CREATE TABLE api_keys (
  id TEXT PRIMARY KEY NOT NULL,
  prefix TEXT NOT NULL UNIQUE,
  secret_hash BLOB NOT NULL CHECK (length(secret_hash) = 32),
  key_hint TEXT NOT NULL,
  owner TEXT NOT NULL,
  display_name TEXT NOT NULL,
  role TEXT NOT NULL,
  enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
  expires_at INTEGER,
  last_used_at INTEGER,
  settings_json TEXT NOT NULL,
  version INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;
