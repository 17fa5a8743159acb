-- Saved views, each a person's own. (VIEW is a word of SQL.)
CREATE TABLE view_ (
	person  TEXT   NOT NULL,
	id      TEXT   NOT NULL,
	name    TEXT   NOT NULL,
	page    TEXT   NOT NULL,
	query   TEXT   NOT NULL,
	updated BIGINT NOT NULL,
	PRIMARY KEY (person, id)
);

-- Requests that carried an idempotency key, for a day. key and digest are
-- keyed hashes. committed says that the request's first write is on disk: it
-- is set in the transaction of that write. status 0 is one without a reply.
CREATE TABLE reply (
	key       TEXT    PRIMARY KEY,
	digest    TEXT    NOT NULL,
	process   TEXT    NOT NULL,
	started   BIGINT  NOT NULL,
	committed INTEGER NOT NULL,
	status    INTEGER NOT NULL,
	kind      TEXT    NOT NULL, -- content type
	etag      TEXT    NOT NULL,
	body      TEXT    NOT NULL,
	shown     TEXT    NOT NULL  -- id of what was shown once, when body must not be kept
);
CREATE INDEX reply_by_started ON reply (started);

-- The order of findings and of actions.
CREATE INDEX finding_by_rank     ON finding (rank, detected, id);
CREATE INDEX finding_by_detected ON finding (detected, id);
