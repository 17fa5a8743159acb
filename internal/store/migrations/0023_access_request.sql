-- What points have asked for in so many words (AuthZEN's access requests): one
-- row for each idempotency key, which all rows of one task share. key and digest
-- are digests; what was sent is not kept.
CREATE TABLE access_request (
	point    TEXT   NOT NULL,
	key      TEXT   NOT NULL,
	digest   TEXT   NOT NULL,
	task     TEXT   NOT NULL,
	approval TEXT   NOT NULL,
	decision TEXT   NOT NULL,
	asked    BIGINT NOT NULL,
	PRIMARY KEY (point, key)
);
CREATE INDEX access_request_by_task ON access_request (task, asked);
CREATE INDEX access_request_by_approval ON access_request (approval, point);
