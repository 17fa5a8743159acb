-- Pieces of logs that are no records. They may hold secrets, so what is kept
-- is encrypted.
CREATE TABLE unparsable (
	id       TEXT   NOT NULL PRIMARY KEY, -- of source and content: the same piece twice is one
	source   TEXT   NOT NULL,
	at       BIGINT NOT NULL,
	reason   TEXT   NOT NULL,
	line     BIGINT NOT NULL,
	size     BIGINT NOT NULL,
	sealed   BYTEA  NOT NULL
);
CREATE INDEX unparsable_by_time ON unparsable (at);
