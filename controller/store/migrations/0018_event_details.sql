-- source: address of the client that asked for it. duration_ms: how long the action took. NULL: there was none, or it is not known.
-- Without a default, so that no row is written anew.
ALTER TABLE events ADD COLUMN source text,
                   ADD COLUMN duration_ms bigint;
