-- The one sequence. seq counts every change that was ever committed; the row
-- lock on it makes the numbers gapless and puts them in commit order.
CREATE TABLE generation (
	id  INTEGER PRIMARY KEY CHECK (id = 1),
	seq BIGINT  NOT NULL
);

INSERT INTO generation (id, seq) VALUES (1, 0);

-- The outbox: what changed, in commit order. payload is the JSON of the new
-- state, and empty when the row is gone.
CREATE TABLE change (
	seq     BIGINT  PRIMARY KEY,
	subject TEXT    NOT NULL,
	key     TEXT    NOT NULL,
	version INTEGER NOT NULL,
	at      BIGINT  NOT NULL,
	payload TEXT    NOT NULL
);

-- Files that are applied as a whole: routes, trust, resources, policies.
CREATE TABLE document (
	name    TEXT   PRIMARY KEY,
	body    BYTEA  NOT NULL,
	version BIGINT NOT NULL,
	updated BIGINT NOT NULL
);

-- How far each consumer of a stream has come. It is written in the same
-- transaction as the consumer's effects, so that repeating changes nothing.
CREATE TABLE position (
	consumer TEXT   PRIMARY KEY,
	seq      BIGINT NOT NULL
);
