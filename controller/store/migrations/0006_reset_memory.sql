-- Wishes to clear an agent's memory, and what they clear in its volume.
ALTER TABLE agents ADD COLUMN reset_wish bigint NOT NULL DEFAULT 0,
                   ADD COLUMN memory_paths jsonb NOT NULL DEFAULT '[]';
