-- Providers (parent is empty) and models (parent is the provider), over or beside the built-in ones.
CREATE TABLE catalog (
  kind TEXT NOT NULL CHECK (kind IN ('provider', 'model')),
  parent TEXT NOT NULL,
  id TEXT NOT NULL,
  origin TEXT NOT NULL,
  json TEXT NOT NULL,
  version INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (kind, parent, id),
  CHECK ((kind = 'provider') = (parent = ''))
) STRICT;

-- Who serves a task.
CREATE TABLE routes (
  id TEXT PRIMARY KEY NOT NULL,
  origin TEXT NOT NULL,
  json TEXT NOT NULL,
  version INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;
