-- Who may speak to Muster. Secrets are here only as SHA-256.
CREATE TABLE point (
	id        TEXT    PRIMARY KEY REFERENCES identity (id),
	name      TEXT    NOT NULL UNIQUE,
	key_id    TEXT    NOT NULL UNIQUE,
	verifier  BYTEA   NOT NULL,
	dialect   TEXT    NOT NULL,
	mode      TEXT    NOT NULL,
	percent   INTEGER NOT NULL,
	sources   TEXT    NOT NULL, -- JSON
	resources TEXT    NOT NULL, -- JSON
	created   BIGINT  NOT NULL,
	disabled  INTEGER NOT NULL
);

CREATE TABLE source (
	id       TEXT    PRIMARY KEY REFERENCES identity (id),
	name     TEXT    NOT NULL UNIQUE,
	format   TEXT    NOT NULL,
	key_id   TEXT    NOT NULL UNIQUE,
	verifier BYTEA   NOT NULL,
	accounts TEXT    NOT NULL, -- JSON
	created  BIGINT  NOT NULL,
	disabled INTEGER NOT NULL
);

CREATE TABLE operator_token (
	key_id      TEXT    PRIMARY KEY,
	verifier    BYTEA   NOT NULL,
	name        TEXT    NOT NULL,
	identity_id TEXT    NOT NULL REFERENCES identity (id),
	loopback    INTEGER NOT NULL,
	created     BIGINT  NOT NULL,
	expires     BIGINT  NOT NULL
);

-- One-time sign-in links.
CREATE TABLE link (
	hash        BYTEA  PRIMARY KEY,
	name        TEXT   NOT NULL,
	identity_id TEXT   NOT NULL,
	created     BIGINT NOT NULL,
	expires     BIGINT NOT NULL
);

CREATE INDEX link_by_expires ON link (expires);

CREATE TABLE session (
	hash        BYTEA  PRIMARY KEY,
	name        TEXT   NOT NULL,
	identity_id TEXT   NOT NULL,
	created     BIGINT NOT NULL,
	used        BIGINT NOT NULL
);

-- What was revoked before it expired. Exactly one of token, key and
-- identity_id is not empty.
CREATE TABLE revocation (
	token       TEXT   NOT NULL,
	key         TEXT   NOT NULL,
	identity_id TEXT   NOT NULL,
	at          BIGINT NOT NULL,
	expires     BIGINT NOT NULL,
	reason      TEXT   NOT NULL,
	PRIMARY KEY (token, key, identity_id)
);

CREATE INDEX revocation_by_expires ON revocation (expires);
