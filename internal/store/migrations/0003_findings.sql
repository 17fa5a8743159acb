-- What was found, and what was done about it. body is the JSON of the whole
-- object; the columns beside it are what lists are ordered and narrowed by.
CREATE TABLE finding (
	id         TEXT   NOT NULL PRIMARY KEY,
	rule       TEXT   NOT NULL,
	status     TEXT   NOT NULL,
	rank       BIGINT NOT NULL, -- severity, 0 info to 4 critical
	identity   TEXT   NOT NULL,
	credential TEXT   NOT NULL,
	detected   BIGINT NOT NULL,
	body       TEXT   NOT NULL
);
CREATE INDEX finding_by_status ON finding (status, rank DESC, detected DESC, id);
CREATE INDEX finding_by_time ON finding (detected DESC, id);
CREATE INDEX finding_by_identity ON finding (identity, detected DESC);
CREATE INDEX finding_by_credential ON finding (credential, detected DESC);

CREATE TABLE action (
	id         TEXT   NOT NULL PRIMARY KEY,
	key        TEXT   NOT NULL UNIQUE, -- what makes it the same act
	status     TEXT   NOT NULL,
	credential TEXT   NOT NULL,
	at         BIGINT NOT NULL,
	body       TEXT   NOT NULL
);
CREATE INDEX action_by_time ON action (at DESC, id);
CREATE INDEX action_by_credential ON action (credential, at DESC);

CREATE TABLE sighting (
	id         TEXT   NOT NULL PRIMARY KEY,
	verdict    TEXT   NOT NULL,
	credential TEXT   NOT NULL,
	at         BIGINT NOT NULL,
	body       TEXT   NOT NULL
);
CREATE INDEX sighting_by_credential ON sighting (credential, at DESC);
