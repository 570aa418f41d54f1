-- What the payment service says about accounts. An event is applied once: its id is kept (90 days, longer than it is
-- ever sent again). No reference to users: the record outlives the account.
CREATE TABLE billing_events (
  id          text PRIMARY KEY,
  type        text NOT NULL,
  created_at  timestamptz(3) NOT NULL,
  received_at timestamptz(3) NOT NULL DEFAULT now(),
  user_id     text,
  outcome     text NOT NULL
);
CREATE INDEX billing_events_received ON billing_events (received_at);

-- Who an account is to the payment service. changed_at: when the newest event that was applied was made, there.
CREATE TABLE billing_accounts (
  user_id      text PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
  customer     text,
  subscription text,
  changed_at   timestamptz(3)
);
CREATE INDEX billing_accounts_customer ON billing_accounts (customer);
