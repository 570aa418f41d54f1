-- The first schema. Times have milliseconds, as everywhere in Creel. Several controllers may share one database:
-- agents.controller_id says who runs an agent.

CREATE TABLE meta (
  key   text PRIMARY KEY,
  value text NOT NULL
);

CREATE TABLE users (
  id                  text PRIMARY KEY,
  email               text NOT NULL,
  password_hash       text NOT NULL,
  admin               boolean NOT NULL DEFAULT false,
  plan                text NOT NULL,
  subscription_status text NOT NULL,
  created_at          timestamptz(3) NOT NULL
);
CREATE UNIQUE INDEX users_email ON users (lower(email));

-- digest: SHA-256 of the cookie or key, which itself is stored nowhere.
CREATE TABLE sessions (
  digest       text PRIMARY KEY,
  user_id      text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  created_at   timestamptz(3) NOT NULL,
  last_used_at timestamptz(3) NOT NULL
);
CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX sessions_last_used ON sessions (last_used_at);

CREATE TABLE api_keys (
  id           text PRIMARY KEY,
  digest       text NOT NULL UNIQUE,
  user_id      text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  name         text NOT NULL,
  prefix       text NOT NULL,
  created_at   timestamptz(3) NOT NULL,
  expires_at   timestamptz(3),
  last_used_at timestamptz(3)
);
CREATE INDEX api_keys_user ON api_keys (user_id);

-- What owners want. Written by api/, read by reconciler/.
CREATE TABLE agents (
  id                 text PRIMARY KEY,
  controller_id      text NOT NULL DEFAULT 'creel',
  owner_id           text NOT NULL REFERENCES users (id),
  name               text NOT NULL,
  template_name      text NOT NULL,
  model              text NOT NULL,
  tier               text NOT NULL,
  image              text NOT NULL,
  version            text NOT NULL,
  desired            text NOT NULL CHECK (desired IN ('running', 'stopped', 'deleted')),
  generation         bigint NOT NULL,
  restart_wish       bigint NOT NULL,
  repair_wish        bigint NOT NULL,
  purge              boolean NOT NULL,
  spec               jsonb NOT NULL,
  spec_hash          text NOT NULL,
  readiness          jsonb NOT NULL,
  files_hash         text NOT NULL,
  restart_files_hash text NOT NULL,
  config_etag        text NOT NULL,
  created_at         timestamptz(3) NOT NULL,
  updated_at         timestamptz(3) NOT NULL,
  deleted_at         timestamptz(3)
);
CREATE INDEX agents_owner ON agents (owner_id, created_at DESC, id DESC) WHERE desired <> 'deleted';
CREATE INDEX agents_newest ON agents (created_at DESC, id DESC) WHERE desired <> 'deleted';
CREATE INDEX agents_controller ON agents (controller_id);

-- What was observed. Written by reconciler/ only; a table of its own, so that these frequent writes do not touch wishes.
-- term: of the lease under which it was written.
CREATE TABLE agent_status (
  agent_id text PRIMARY KEY REFERENCES agents (id) ON DELETE CASCADE,
  status   jsonb NOT NULL,
  history  jsonb NOT NULL,
  term     bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 70);

-- Agents that are gone for good, so that a repeated DELETE gets the answer of the first.
CREATE TABLE deleted_agents (
  id       text PRIMARY KEY,
  owner_id text NOT NULL,
  gone_at  timestamptz(3) NOT NULL DEFAULT now()
);

CREATE TABLE agent_secrets (
  agent_id   text NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
  name       text NOT NULL,
  key_id     text NOT NULL,
  nonce      bytea NOT NULL,
  ciphertext bytea NOT NULL,
  updated_at timestamptz(3) NOT NULL DEFAULT now(),
  PRIMARY KEY (agent_id, name)
);

-- No reference to agents: events outlive them. agent_id is null for events about the controller.
CREATE TABLE events (
  id       bigserial PRIMARY KEY,
  at       timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  agent_id text,
  kind     text NOT NULL,
  reason   text NOT NULL,
  message  text NOT NULL,
  actor    text NOT NULL
);
CREATE INDEX events_agent ON events (agent_id, id);

CREATE TABLE idempotency_keys (
  user_id     text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  key         text NOT NULL,
  body_digest text NOT NULL,
  status      integer,
  body        text,
  created_at  timestamptz(3) NOT NULL DEFAULT now(),
  PRIMARY KEY (user_id, key)
);
CREATE INDEX idempotency_keys_created ON idempotency_keys (created_at);

-- The unique index makes `term` part of a key. So a taking (which changes the term) waits for transactions that hold the
-- row FOR KEY SHARE, as status writes do, while a renewal (which does not) passes them by.
CREATE TABLE lease (
  controller_id text PRIMARY KEY,
  holder        text NOT NULL,
  term          bigint NOT NULL,
  expires_at    timestamptz NOT NULL
);
CREATE UNIQUE INDEX lease_term ON lease (controller_id, term);

CREATE TABLE intents (
  agent_id   text NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
  operation  text NOT NULL,
  object     text NOT NULL,
  created_at timestamptz(3) NOT NULL DEFAULT now(),
  PRIMARY KEY (agent_id, operation, object)
);
