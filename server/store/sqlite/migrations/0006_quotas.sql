-- What limits have given out: to whom, of what, in which stretch of time.
CREATE TABLE quotas (
  subject TEXT NOT NULL,
  meter TEXT NOT NULL,
  slot INTEGER NOT NULL,
  used INTEGER NOT NULL,
  PRIMARY KEY (subject, meter, slot)
) STRICT, WITHOUT ROWID;

-- How far the time of limits had come when a boot of the machine began to count.
CREATE TABLE steady_time (
  only_row INTEGER PRIMARY KEY NOT NULL CHECK (only_row = 1),
  micros INTEGER NOT NULL,
  boot TEXT NOT NULL,
  uptime_micros INTEGER NOT NULL
) STRICT;
