-- Chance that is this store's own: made once, never changed. It keeps equal secrets in two stores from looking equal.
ALTER TABLE registry ADD COLUMN salt BLOB NOT NULL DEFAULT (x'');
UPDATE registry SET salt = randomblob(32);
