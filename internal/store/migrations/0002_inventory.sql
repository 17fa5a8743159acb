-- One non-human identity a row. observed is the time of the newest observation
-- by a connector (0: none yet), missed how many complete observations since
-- then did not hold it, words what identity_word holds of it.
CREATE TABLE identity (
	id               TEXT    PRIMARY KEY,
	kind             TEXT    NOT NULL,
	provider         TEXT    NOT NULL,
	account          TEXT    NOT NULL,
	native           TEXT    NOT NULL,
	name             TEXT    NOT NULL,
	path             TEXT    NOT NULL,
	environment      TEXT    NOT NULL,
	class            TEXT    NOT NULL,
	purpose          TEXT    NOT NULL,
	state            TEXT    NOT NULL,
	shadow           INTEGER NOT NULL,
	owner            TEXT    NOT NULL,
	owner_confidence DOUBLE PRECISION NOT NULL,
	owner_source     TEXT    NOT NULL,
	risk             INTEGER NOT NULL,
	labels           TEXT    NOT NULL,
	created          BIGINT  NOT NULL,
	first_seen       BIGINT  NOT NULL,
	last_seen        BIGINT  NOT NULL,
	attestable       INTEGER NOT NULL,
	not_before       BIGINT  NOT NULL,
	alias            TEXT    NOT NULL,
	observed         BIGINT  NOT NULL,
	missed           INTEGER NOT NULL,
	words            TEXT    NOT NULL
);

-- The order of lists.
CREATE INDEX identity_by_name ON identity (name, id);

-- How logs name an identity.
CREATE INDEX identity_by_path ON identity (path) WHERE path <> '';

-- What a complete observation of an account must hold.
CREATE INDEX identity_by_account ON identity (provider, account, kind);

-- Two identities made here never share a name in one environment.
CREATE UNIQUE INDEX identity_made_here ON identity (environment, name)
WHERE provider = 'muster' AND kind NOT IN ('point', 'source', 'operator');

-- The words an identity is found by. Derived, and so without a reference,
-- which would be checked a dozen times for each identity.
CREATE TABLE identity_word (
	word        TEXT NOT NULL,
	identity_id TEXT NOT NULL,
	PRIMARY KEY (word, identity_id)
);

-- When a kind of identity in an account was last observed completely.
CREATE TABLE coverage (
	provider TEXT   NOT NULL,
	account  TEXT   NOT NULL,
	kind     TEXT   NOT NULL,
	at       BIGINT NOT NULL,
	PRIMARY KEY (provider, account, kind)
);

-- One credential a row. Its value is in no column: verifier can check one that
-- is presented, fingerprint can recognise one that leaked.
CREATE TABLE credential (
	id          TEXT   PRIMARY KEY,
	identity_id TEXT   NOT NULL REFERENCES identity (id),
	kind        TEXT   NOT NULL,
	provider    TEXT   NOT NULL,
	account     TEXT   NOT NULL,
	public_id   TEXT   NOT NULL,
	verifier    BYTEA,
	fingerprint TEXT   NOT NULL,
	state       TEXT   NOT NULL,
	reason      TEXT   NOT NULL,
	consumer    TEXT   NOT NULL,
	native      TEXT   NOT NULL,
	created     BIGINT NOT NULL,
	expires     BIGINT NOT NULL,
	rotated     BIGINT NOT NULL,
	last_used   BIGINT NOT NULL,
	risk        INTEGER NOT NULL
);

CREATE INDEX credential_by_identity    ON credential (identity_id, id);
CREATE INDEX credential_by_public_id   ON credential (public_id) WHERE public_id <> '';
CREATE INDEX credential_by_fingerprint ON credential (fingerprint) WHERE fingerprint <> '';

-- A permission as its provider writes it. (GRANT is a word of SQL.)
CREATE TABLE grant_ (
	id          TEXT    PRIMARY KEY,
	identity_id TEXT    NOT NULL REFERENCES identity (id),
	kind        TEXT    NOT NULL,
	name        TEXT    NOT NULL,
	document    TEXT    NOT NULL,
	admin       INTEGER NOT NULL
);

CREATE INDEX grant_by_identity ON grant_ (identity_id, kind, name, id);

-- Reasons to believe that somebody answers for an identity. Rows are added,
-- never overwritten: what is seen again only moves at.
CREATE TABLE owner_evidence (
	identity_id TEXT   NOT NULL REFERENCES identity (id),
	owner       TEXT   NOT NULL,
	source      TEXT   NOT NULL,
	detail      TEXT   NOT NULL,
	since       BIGINT NOT NULL,
	at          BIGINT NOT NULL,
	PRIMARY KEY (identity_id, owner, source, detail)
);
