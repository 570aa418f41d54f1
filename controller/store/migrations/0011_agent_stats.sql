-- What agents used, at three resolutions (seconds): each sample for an hour, minutes for a day, ten minutes for a month.
-- No reference to agents: checking one for each sample would lock wishes that nobody changes. Rows of an agent that is
-- forgotten go with it, or else with their age. A partition each, so that the few hot rows have few pages.
-- at: beginning of the slot, a multiple of its length. sampled_at, started_at: newest sample in it, start of its run.
-- *_total: the run's counters at that sample; cpu_seconds, rx, tx: how much they grew since the sample before, over span
-- seconds (null: not known). memory_bytes: mean. cpu_max: percent of one core. gap: that is longer than the slot.
CREATE TABLE agent_stats (
  agent_id          text NOT NULL,
  resolution        smallint NOT NULL,
  at                timestamptz(3) NOT NULL,
  sampled_at        timestamptz(3) NOT NULL,
  started_at        timestamptz(3) NOT NULL,
  samples           integer NOT NULL,
  cpu_seconds_total double precision NOT NULL,
  cpu_seconds       double precision,
  span              double precision,
  cpu_max           double precision,
  memory_bytes      bigint NOT NULL,
  memory_max        bigint NOT NULL,
  memory_limit      bigint NOT NULL,
  rx_total          bigint,
  tx_total          bigint,
  rx                bigint,
  tx                bigint,
  pids              bigint NOT NULL,
  gap               boolean NOT NULL,
  PRIMARY KEY (agent_id, resolution, at)
) PARTITION BY LIST (resolution);
CREATE TABLE agent_stats_10s PARTITION OF agent_stats FOR VALUES IN (10);
CREATE TABLE agent_stats_1m PARTITION OF agent_stats FOR VALUES IN (60);
CREATE TABLE agent_stats_10m PARTITION OF agent_stats FOR VALUES IN (600);
-- For rolling up and expiring; all of a round have one time, so the index is small.
CREATE INDEX agent_stats_at ON agent_stats (at);
