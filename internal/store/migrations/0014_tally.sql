-- What an identity's credentials and grants say of it, kept with it so that a
-- list need not look at them.
ALTER TABLE identity ADD COLUMN static INTEGER NOT NULL DEFAULT 0;
ALTER TABLE identity ADD COLUMN admin  INTEGER NOT NULL DEFAULT 0;
UPDATE identity
SET    static = 1
WHERE  id IN (SELECT identity_id FROM credential WHERE expires = 0 AND state IN ('active', 'narrowed'));
UPDATE identity
SET    admin = 1
WHERE  id IN (SELECT identity_id FROM grant_ WHERE admin = 1);

-- How many identities there are of each sort, moved in the transaction that
-- moves an identity. band is the lower end of the band of its risk.
CREATE TABLE identity_tally (
	provider    TEXT    NOT NULL,
	account     TEXT    NOT NULL,
	kind        TEXT    NOT NULL,
	environment TEXT    NOT NULL,
	class       TEXT    NOT NULL,
	owner       TEXT    NOT NULL,
	state       TEXT    NOT NULL,
	shadow      INTEGER NOT NULL,
	static      INTEGER NOT NULL,
	admin       INTEGER NOT NULL,
	attestable  INTEGER NOT NULL,
	band        INTEGER NOT NULL,
	n           BIGINT  NOT NULL,
	PRIMARY KEY (provider, account, kind, environment, class, owner, state, shadow, static, admin, attestable, band)
);
INSERT INTO identity_tally (provider, account, kind, environment, class, owner, state, shadow, static, admin, attestable, band, n)
SELECT      provider, account, kind, environment, class, owner, state, shadow, static, admin, attestable,
            CASE WHEN risk >= 75 THEN 75 WHEN risk >= 50 THEN 50 WHEN risk >= 25 THEN 25 WHEN risk >= 1 THEN 1 ELSE 0 END, COUNT(*)
FROM        identity
GROUP BY    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12;

-- The identities of each sort. It takes the place of an index for each field.
CREATE INDEX identity_by_sort ON identity
(provider, account, kind, environment, class, owner, state, shadow, static, admin, attestable, risk, last_seen, created);
DROP INDEX identity_by_account;
DROP INDEX identity_by_facets;
DROP INDEX identity_by_kind;
DROP INDEX identity_by_environment;
DROP INDEX identity_by_owner;
DROP INDEX identity_by_state;
DROP INDEX identity_by_number;
DROP INDEX identity_shadow;

-- The order of names, with what lists of names are most often narrowed by: so a
-- walk along it looks at few rows.
DROP INDEX identity_by_name;
CREATE INDEX identity_by_name ON identity (name, id, environment, class, owner, kind, account, state);

CREATE INDEX identity_by_native ON identity (native);

-- What the overview counts of credentials.
CREATE INDEX credential_by_state ON credential (state, expires);
