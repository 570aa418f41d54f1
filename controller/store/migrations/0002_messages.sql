-- What people and agents said. A session is one conversation of an agent; `key` is the gateway's own name of it.
CREATE TABLE chat_sessions (
  id               text PRIMARY KEY,
  agent_id         text NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
  key              text NOT NULL,
  platform         text NOT NULL,
  created_at       timestamptz(3) NOT NULL,
  last_activity_at timestamptz(3) NOT NULL,
  UNIQUE (agent_id, key)
);
CREATE INDEX chat_sessions_activity ON chat_sessions (agent_id, last_activity_at DESC);

-- external_id: the name the agent's own transcript gives it; null until it was seen there.
-- error: why this message of a user got no reply. response_ms: of a reply, how long after the message it answers.
CREATE TABLE messages (
  id          bigserial PRIMARY KEY,
  agent_id    text NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
  session_id  text NOT NULL REFERENCES chat_sessions (id) ON DELETE CASCADE,
  sender      text NOT NULL CHECK (sender IN ('user', 'agent')),
  platform    text NOT NULL,
  content     text NOT NULL,
  at          timestamptz(3) NOT NULL,
  external_id text,
  error       text,
  response_ms bigint
);
CREATE UNIQUE INDEX messages_external ON messages (agent_id, external_id);
CREATE INDEX messages_newest ON messages (agent_id, at DESC, id DESC);
CREATE INDEX messages_session ON messages (session_id, at, id);
CREATE INDEX messages_at ON messages (at);
