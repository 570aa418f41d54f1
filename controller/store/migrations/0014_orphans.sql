-- What the leader found on the engine that belongs to no agent, as of its last look. Since when is kept in its memory.
CREATE TABLE orphan_reports (
  controller_id text PRIMARY KEY,
  report        jsonb NOT NULL,
  term          bigint NOT NULL
);
