-- The name of this database, given once and kept for life. What lies outside
-- and belongs to it carries the name.
CREATE TABLE installation (
	id   INTEGER PRIMARY KEY CHECK (id = 1),
	name TEXT    NOT NULL,
	made BIGINT  NOT NULL
);
