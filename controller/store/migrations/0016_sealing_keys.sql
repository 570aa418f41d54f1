-- The master keys, by id, under which sealed values may be stored. What seals is the one of meta's key_check. A rotation
-- takes the old one out when nothing is sealed under it any more: from then on a controller that has not noticed cannot
-- store anything under it either, which the foreign key sees to.
CREATE TABLE sealing_keys (
  id       text PRIMARY KEY,
  added_at timestamptz(3) NOT NULL DEFAULT now()
);
INSERT INTO sealing_keys (id)
SELECT key_id FROM agent_secrets UNION SELECT value::json->>'key_id' FROM meta WHERE key = 'key_check';
ALTER TABLE agent_secrets ADD CONSTRAINT agent_secrets_key FOREIGN KEY (key_id) REFERENCES sealing_keys (id);

-- Which controllers run, and which master keys each of them holds (ids, with blanks between them).
CREATE TABLE key_holders (
  id      text PRIMARY KEY,
  place   text NOT NULL,
  key_ids text NOT NULL,
  seals   text NOT NULL,
  seen_at timestamptz(3) NOT NULL
);
