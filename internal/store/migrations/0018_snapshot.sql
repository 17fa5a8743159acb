-- The history of the policies. An entry is never removed; body is the entry, and
-- state says where it stands now. One is active.
CREATE TABLE snapshot (
	sequence BIGINT NOT NULL PRIMARY KEY,
	digest   TEXT   NOT NULL,
	state    TEXT   NOT NULL,
	body     TEXT   NOT NULL
);
CREATE INDEX snapshot_by_digest ON snapshot (digest, sequence);
CREATE INDEX snapshot_by_state ON snapshot (state, sequence);

-- The files that a digest names: JSON, compressed. Several entries may name the
-- same ones.
CREATE TABLE library (
	digest TEXT  NOT NULL PRIMARY KEY,
	body   BYTEA NOT NULL
);
