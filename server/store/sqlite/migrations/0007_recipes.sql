-- What operators put together from models: presets and workflows. A row of origin `deleted` hides a built-in one.
CREATE TABLE recipes (
  kind TEXT NOT NULL CHECK (kind IN ('preset', 'workflow')),
  id TEXT NOT NULL,
  origin TEXT NOT NULL,
  json TEXT NOT NULL,
  version INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (kind, id)
) STRICT;

-- What attempts have taught about the members of presets.
CREATE TABLE learned (
  preset TEXT NOT NULL,
  member TEXT NOT NULL,
  json TEXT NOT NULL,
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (preset, member)
) STRICT, WITHOUT ROWID;
