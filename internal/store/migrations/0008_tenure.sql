-- The sequence learns who writes it: mark moves with each transaction, so that
-- a commit whose answer was lost can be looked up; tenure counts the servers
-- that took the database, one after the other; pruned is the last change that
-- is no longer kept.
ALTER TABLE generation ADD COLUMN mark   BIGINT NOT NULL DEFAULT 0;
ALTER TABLE generation ADD COLUMN tenure BIGINT NOT NULL DEFAULT 0;
ALTER TABLE generation ADD COLUMN pruned BIGINT NOT NULL DEFAULT 0;
