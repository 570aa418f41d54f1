-- A live stream at Mux for an agent. No reference to agents: the row outlives the agent until the stream is deleted at
-- Mux. Its key is sealed in agent_secrets ("stream_key").
-- stream_id: Mux's name of it; null until it is there.
-- next_attempt_at: not rounded to milliseconds as other times, because rounded up it would not be due at once.
-- maybe_made: a creation was asked for whose answer was lost, so that Mux may have one this row does not name.
CREATE TABLE live_streams (
  agent_id        text PRIMARY KEY,
  controller_id   text NOT NULL,
  stream_id       text,
  maybe_made      boolean NOT NULL DEFAULT false,
  attempts        integer NOT NULL DEFAULT 0,
  next_attempt_at timestamptz NOT NULL DEFAULT now(),
  last_error      text,
  created_at      timestamptz(3) NOT NULL DEFAULT now()
);
