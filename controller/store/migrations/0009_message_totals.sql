-- What the message figures of an agent are computed from: sums over its messages, kept right by triggers whoever writes
-- or removes them. Counting a million messages at each look would read a million index entries; this reads one row.
-- asked: messages of users; failed: those with an error; answered, response_ms: replies whose time is known, and the sum.
CREATE TABLE message_totals (
  agent_id    text PRIMARY KEY REFERENCES agents (id) ON DELETE CASCADE,
  asked       bigint NOT NULL,
  failed      bigint NOT NULL,
  answered    bigint NOT NULL,
  response_ms bigint NOT NULL
) WITH (fillfactor = 70);

INSERT INTO message_totals
SELECT agent_id, count(*) FILTER (WHERE sender = 'user'), count(*) FILTER (WHERE sender = 'user' AND error IS NOT NULL),
       count(response_ms) FILTER (WHERE sender = 'agent'),
       coalesce(sum(response_ms) FILTER (WHERE sender = 'agent'), 0)
FROM messages GROUP BY agent_id;

-- Once a statement, not once a row. Agents in one order, so that two statements cannot wait for each other here.
CREATE FUNCTION count_messages() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO message_totals AS t
  SELECT agent_id, count(*) FILTER (WHERE sender = 'user'),
         count(*) FILTER (WHERE sender = 'user' AND error IS NOT NULL),
         count(response_ms) FILTER (WHERE sender = 'agent'),
         coalesce(sum(response_ms) FILTER (WHERE sender = 'agent'), 0)
  FROM new_rows GROUP BY agent_id ORDER BY agent_id
  ON CONFLICT (agent_id) DO UPDATE
  SET asked = t.asked + excluded.asked, failed = t.failed + excluded.failed,
      answered = t.answered + excluded.answered, response_ms = t.response_ms + excluded.response_ms;
  RETURN NULL;
END $$;

CREATE FUNCTION uncount_messages() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE message_totals t
  SET asked = t.asked - o.asked, failed = t.failed - o.failed,
      answered = t.answered - o.answered, response_ms = t.response_ms - o.response_ms
  FROM (SELECT agent_id, count(*) FILTER (WHERE sender = 'user') AS asked,
               count(*) FILTER (WHERE sender = 'user' AND error IS NOT NULL) AS failed,
               count(response_ms) FILTER (WHERE sender = 'agent') AS answered,
               coalesce(sum(response_ms) FILTER (WHERE sender = 'agent'), 0) AS response_ms
        FROM old_rows GROUP BY agent_id) o
  WHERE t.agent_id = o.agent_id;
  RETURN NULL;
END $$;

-- Of one event they run by name: a changed message is first taken out, then counted again.
CREATE TRIGGER messages_1_uncounted AFTER UPDATE ON messages REFERENCING OLD TABLE AS old_rows
  FOR EACH STATEMENT EXECUTE FUNCTION uncount_messages();
CREATE TRIGGER messages_2_counted AFTER UPDATE ON messages REFERENCING NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION count_messages();
CREATE TRIGGER messages_counted AFTER INSERT ON messages REFERENCING NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION count_messages();
CREATE TRIGGER messages_uncounted AFTER DELETE ON messages REFERENCING OLD TABLE AS old_rows
  FOR EACH STATEMENT EXECUTE FUNCTION uncount_messages();
