-- What lists are ordered by.
CREATE INDEX identity_by_risk      ON identity (risk, id);
CREATE INDEX identity_by_last_seen ON identity (last_seen, id);
CREATE INDEX identity_by_created   ON identity (created, id);

-- What drives a list when it finds little.
CREATE INDEX identity_by_kind        ON identity (kind);
CREATE INDEX identity_by_environment ON identity (environment);
CREATE INDEX identity_by_owner       ON identity (owner);
CREATE INDEX identity_by_state       ON identity (state);
CREATE INDEX identity_by_number      ON identity (account);
CREATE INDEX identity_shadow         ON identity (id) WHERE shadow = 1;

-- What counts and facets are taken from, without a look at the rows.
CREATE INDEX identity_by_facets ON identity
(provider, kind, environment, class, state, shadow, owner, account, risk, last_seen, created);

-- What credentials are listed by.
CREATE INDEX credential_by_created   ON credential (created, id);
CREATE INDEX credential_by_expires   ON credential (expires, id);
CREATE INDEX credential_by_last_used ON credential (last_used, id);
CREATE INDEX credential_static       ON credential (identity_id) WHERE expires = 0;
CREATE INDEX grant_admin             ON grant_ (identity_id) WHERE admin = 1;
