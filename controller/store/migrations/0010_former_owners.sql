-- Owners go on seeing the events of agents they have deleted.
CREATE INDEX deleted_agents_owner ON deleted_agents (owner_id);
