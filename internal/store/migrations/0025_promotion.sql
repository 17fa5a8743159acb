-- Policies on their way into force by gates; one is under way at a time. found is
-- what they deny newly. The previous release knows none: it decides by the
-- snapshot that is in force.
CREATE TABLE promotion (
	id       TEXT   NOT NULL PRIMARY KEY,
	sequence BIGINT NOT NULL, -- of its entry in the history
	started  BIGINT NOT NULL,
	body     TEXT   NOT NULL,
	found    TEXT   NOT NULL
);
CREATE INDEX promotion_by_start ON promotion (started, id);
