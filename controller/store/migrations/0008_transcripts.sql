-- How far the transcript of a session has been read: the gateway's own time of the session's last change.
CREATE TABLE transcripts (
  agent_id text NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
  key      text NOT NULL,
  read_to  timestamptz(3) NOT NULL,
  PRIMARY KEY (agent_id, key)
);
