-- Codes that open a point while the server is gone, in two halves that two
-- people hold. Of a half only its SHA-256 is kept. The previous release knows
-- none, and its points stay shut.
CREATE TABLE glass (
	id        TEXT   NOT NULL PRIMARY KEY,
	point     TEXT   NOT NULL,
	state     TEXT   NOT NULL,
	created   BIGINT NOT NULL,
	first     BYTEA  NOT NULL,
	second    BYTEA,
	body      TEXT   NOT NULL
);
CREATE INDEX glass_by_point ON glass (point, created);
ALTER TABLE point ADD COLUMN glass TEXT NOT NULL DEFAULT '[]';
