-- What was found to hold about an agent: at most one verification each, replaced by the next that succeeds.
CREATE TABLE verifications (
  agent_id         text PRIMARY KEY REFERENCES agents (id) ON DELETE CASCADE,
  type             text NOT NULL CHECK (type IN ('eas', 'coinbase', 'ens', 'webauthn')),
  attestation_uid  text,
  verifier_address text,
  verified_at      timestamptz(3) NOT NULL,
  metadata         jsonb NOT NULL
);

-- The newest challenge of each agent, user and type: a new one replaces it, a verification uses it up.
CREATE TABLE verification_challenges (
  agent_id   text NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
  user_id    text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  type       text NOT NULL,
  challenge  text NOT NULL,
  message    text NOT NULL,
  wallet     text,
  expires_at timestamptz(3) NOT NULL,
  used_at    timestamptz(3),
  PRIMARY KEY (agent_id, user_id, type)
);
