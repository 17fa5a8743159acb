-- People who signed in with the organisation's provider. assigned are the roles
-- given here; those that follow from groups and email are configuration.
CREATE TABLE person (
	id        TEXT    PRIMARY KEY, -- of issuer and subject
	issuer    TEXT    NOT NULL,
	subject   TEXT    NOT NULL,
	name      TEXT    NOT NULL,
	email     TEXT    NOT NULL, -- empty unless verified
	groups    TEXT    NOT NULL, -- JSON
	assigned  TEXT    NOT NULL, -- JSON
	disabled  INTEGER NOT NULL,
	created   BIGINT  NOT NULL,
	signed_in BIGINT  NOT NULL
);

CREATE INDEX person_by_name ON person (name, id);

-- Sign-ins that have ended, so that each ends once.
CREATE TABLE used_once (
	hash    BYTEA  PRIMARY KEY,
	expires BIGINT NOT NULL
);

-- Whose sessions and links they are: a person's or an operator token's. Those
-- from before say neither and open nothing.
ALTER TABLE session ADD COLUMN person  TEXT NOT NULL DEFAULT '';
ALTER TABLE session ADD COLUMN token   TEXT NOT NULL DEFAULT '';
ALTER TABLE session ADD COLUMN address TEXT NOT NULL DEFAULT '';
ALTER TABLE link    ADD COLUMN person  TEXT NOT NULL DEFAULT '';
ALTER TABLE link    ADD COLUMN token   TEXT NOT NULL DEFAULT '';
CREATE INDEX session_by_person ON session (person, created) WHERE person <> '';

-- What an operator token allows. Those from before allow everything.
ALTER TABLE operator_token ADD COLUMN grants  TEXT   NOT NULL DEFAULT '[{"role":"admin"}]';
ALTER TABLE operator_token ADD COLUMN rights  TEXT   NOT NULL DEFAULT '[]';
ALTER TABLE operator_token ADD COLUMN person  TEXT   NOT NULL DEFAULT '';
ALTER TABLE operator_token ADD COLUMN parent  TEXT   NOT NULL DEFAULT '';
ALTER TABLE operator_token ADD COLUMN used    BIGINT NOT NULL DEFAULT 0;
ALTER TABLE operator_token ADD COLUMN revoked BIGINT NOT NULL DEFAULT 0;
