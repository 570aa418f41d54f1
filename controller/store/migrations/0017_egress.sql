-- Where an agent may go, as its owner wrote it: "open", "none", or a list. NULL: as its template says. And how often it was refused.
ALTER TABLE agents ADD COLUMN egress jsonb,
                   ADD COLUMN egress_denied bigint NOT NULL DEFAULT 0;
