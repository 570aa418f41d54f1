-- Wishes for another image. Which image an agent runs by is in the history: an update that fails changes nothing here.
ALTER TABLE agents ADD COLUMN update_wish bigint NOT NULL DEFAULT 0,
                   ADD COLUMN update_image text NOT NULL DEFAULT '';
