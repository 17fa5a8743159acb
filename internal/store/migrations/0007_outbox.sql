-- Acts that are stored and not yet in the audit log. A row is written with the
-- act and removed once the log has it, so a crash in between loses nothing and
-- a start has only these to look at.
CREATE TABLE act_due (
	key  TEXT   NOT NULL PRIMARY KEY, -- what makes it the same act
	at   BIGINT NOT NULL,
	body TEXT   NOT NULL -- JSON of the act
);
CREATE INDEX act_due_by_time ON act_due (at, key);

-- A new notice is given to its channels once: each that wants it gets a row in
-- delivery. What is old and done is never looked at again.
ALTER TABLE notice ADD COLUMN routed INTEGER NOT NULL DEFAULT 0;
CREATE INDEX notice_unrouted ON notice (at, id) WHERE routed = 0;
CREATE INDEX notice_by_time ON notice (at);
DROP INDEX delivery_due;
CREATE INDEX delivery_due ON delivery (channel, due) WHERE status = 'waiting';

-- Sightings that are nobody's are forgotten in time.
CREATE INDEX sighting_by_verdict ON sighting (verdict, at);
