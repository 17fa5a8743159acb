-- What people were asked to approve. body is the approval; the columns are what
-- lists narrow and order it by. state is that of the last write: what has
-- expired since is found by its time.
CREATE TABLE approval (
	id          TEXT    NOT NULL PRIMARY KEY,
	state       TEXT    NOT NULL,
	identity    TEXT    NOT NULL,
	point       TEXT    NOT NULL,
	action      TEXT    NOT NULL,
	resource    TEXT    NOT NULL,
	sensitivity INTEGER NOT NULL,
	asked       BIGINT  NOT NULL,
	expires     BIGINT  NOT NULL,
	body        TEXT    NOT NULL
);
CREATE INDEX approval_by_asked ON approval (asked, id);
CREATE INDEX approval_by_identity ON approval (identity, asked);
CREATE INDEX approval_by_state ON approval (state, expires);
