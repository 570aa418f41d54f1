-- pending_until: a user's message on its way to the agent. Whoever brings it there moves this time on; once it has
-- passed, that process is gone and the message lost. reply_to: the message that an agent's reply answers.
ALTER TABLE messages ADD COLUMN pending_until timestamptz(3),
                     ADD COLUMN reply_to bigint REFERENCES messages (id) ON DELETE SET NULL;
CREATE INDEX messages_pending ON messages (pending_until) WHERE pending_until IS NOT NULL;
CREATE UNIQUE INDEX messages_reply ON messages (reply_to);
-- ended_at: the agent has forgotten what was said in it. A message said later makes it go on.
ALTER TABLE chat_sessions ADD COLUMN ended_at timestamptz(3);
