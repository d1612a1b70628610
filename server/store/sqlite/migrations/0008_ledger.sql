-- What was asked of providers, an attempt a row. Times in microseconds, money in 1e-12 USD. A row is small, because one
-- is written for each call: what many attempts have in common stands in attempt_facets, once, and what few have in
-- attempt_notes.
CREATE TABLE attempts (
  id INTEGER PRIMARY KEY NOT NULL,
  facet INTEGER NOT NULL,
  call TEXT NOT NULL,
  idx INTEGER NOT NULL,
  -- No other attempt was to follow.
  is_last INTEGER NOT NULL,
  -- 0 succeeded, 1 failed, 2 cancelled.
  state INTEGER NOT NULL,
  started_at INTEGER NOT NULL,
  ended_at INTEGER NOT NULL,
  took INTEGER NOT NULL,
  call_took INTEGER NOT NULL,
  -- Set for the attempt that a call succeeded with.
  latency_bin INTEGER,
  first_token INTEGER,
  -- Null: no usage is known.
  is_estimated INTEGER,
  input_tokens INTEGER,
  cached_input_tokens INTEGER,
  cache_write_tokens INTEGER,
  output_tokens INTEGER,
  reasoning_tokens INTEGER,
  cost INTEGER NOT NULL,
  -- Null: none.
  labels TEXT
) STRICT;
CREATE INDEX attempts_by_start ON attempts (started_at);
CREATE INDEX attempts_by_end ON attempts (ended_at);
CREATE INDEX attempts_by_call ON attempts (call);

CREATE TABLE attempt_facets (
  id INTEGER PRIMARY KEY NOT NULL,
  kind TEXT NOT NULL,
  owner TEXT NOT NULL,
  api_key TEXT NOT NULL,
  capability TEXT NOT NULL,
  route TEXT NOT NULL,
  preset TEXT NOT NULL,
  model TEXT NOT NULL,
  provider TEXT NOT NULL,
  account TEXT NOT NULL,
  UNIQUE (model, account, owner, api_key, capability, route, preset, provider, kind)
) STRICT;

CREATE TABLE attempt_notes (
  attempt INTEGER PRIMARY KEY NOT NULL REFERENCES attempts (id) ON DELETE CASCADE,
  code INTEGER NOT NULL,
  reason TEXT NOT NULL,
  message TEXT NOT NULL,
  http_status INTEGER,
  excerpt TEXT NOT NULL,
  upstream_request_id TEXT NOT NULL,
  billed_input_tokens INTEGER,
  billed_output_tokens INTEGER,
  reported_cost INTEGER
) STRICT;
