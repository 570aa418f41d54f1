-- WhatsApp: what people wrote to agents and what is to be sent to them. A row is worked on by one controller at a time:
-- `claims` counts the takings, and only the newest may say what became of it. `attempts` counts the failures.
-- next_attempt_at: not rounded to milliseconds, because rounded up it would not be due at once; of a row that is being
-- worked on, when another may take it.

-- wamid: WhatsApp's name of the message, seen once. message_id: of the same words in `messages`.
CREATE TABLE whatsapp_inbox (
  id              bigserial PRIMARY KEY,
  agent_id        text NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
  wamid           text NOT NULL,
  number          text NOT NULL,
  phone_number_id text NOT NULL,
  content         text NOT NULL,
  message_id      bigint,
  state           text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'working', 'done', 'failed')),
  attempts        integer NOT NULL DEFAULT 0,
  claims          bigint NOT NULL DEFAULT 0,
  next_attempt_at timestamptz NOT NULL DEFAULT now(),
  last_error      text,
  created_at      timestamptz(3) NOT NULL DEFAULT now(),
  done_at         timestamptz(3),
  UNIQUE (agent_id, wamid)
);
CREATE INDEX whatsapp_inbox_open ON whatsapp_inbox (agent_id, number, id) WHERE state IN ('waiting', 'working');
CREATE INDEX whatsapp_inbox_due ON whatsapp_inbox (next_attempt_at) WHERE state IN ('waiting', 'working');
CREATE INDEX whatsapp_inbox_done ON whatsapp_inbox (done_at) WHERE state IN ('done', 'failed');

-- A reply in parts that WhatsApp takes. delivery: what WhatsApp said became of it.
CREATE TABLE whatsapp_outbox (
  id              bigserial PRIMARY KEY,
  agent_id        text NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
  inbox_id        bigint NOT NULL REFERENCES whatsapp_inbox (id) ON DELETE CASCADE,
  part            integer NOT NULL,
  number          text NOT NULL,
  phone_number_id text NOT NULL,
  content         text NOT NULL,
  wamid           text,
  delivery        text CHECK (delivery IN ('sent', 'delivered', 'read', 'failed')),
  delivery_at     timestamptz(3),
  state           text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'working', 'done', 'failed')),
  attempts        integer NOT NULL DEFAULT 0,
  claims          bigint NOT NULL DEFAULT 0,
  next_attempt_at timestamptz NOT NULL DEFAULT now(),
  last_error      text,
  created_at      timestamptz(3) NOT NULL DEFAULT now(),
  done_at         timestamptz(3),
  UNIQUE (inbox_id, part)
);
CREATE INDEX whatsapp_outbox_open ON whatsapp_outbox (agent_id, number, id) WHERE state IN ('waiting', 'working');
CREATE INDEX whatsapp_outbox_due ON whatsapp_outbox (next_attempt_at) WHERE state IN ('waiting', 'working');
CREATE INDEX whatsapp_outbox_wamid ON whatsapp_outbox (agent_id, wamid);
