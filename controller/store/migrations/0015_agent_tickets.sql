-- What lets somebody in at an agent's own address who cannot send a header: tickets for a minute, and the cookies that
-- browsers get for them. Only SHA-256 digests (64 hex digits) of them are kept.
CREATE TABLE agent_tickets (
  digest     text PRIMARY KEY,
  agent_id   text NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
  user_id    text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  cookie     boolean NOT NULL,
  expires_at timestamptz(3) NOT NULL
);
CREATE INDEX agent_tickets_agent ON agent_tickets (agent_id);
CREATE INDEX agent_tickets_user ON agent_tickets (user_id);
CREATE INDEX agent_tickets_expires ON agent_tickets (expires_at);
