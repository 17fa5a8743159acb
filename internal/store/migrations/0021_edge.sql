-- Which processes of a point may hold a lease, and until when at most. It is
-- written before the first one is granted, and then only now and then: a server
-- that starts must wait for leases that the one before it granted.
CREATE TABLE edge_lease (
	point    TEXT   NOT NULL,
	instance TEXT   NOT NULL,
	until    BIGINT NOT NULL,
	PRIMARY KEY (point, instance)
);

-- How far a point has reported the decisions that it made itself. A journal is
-- one data folder of a point; place is the last record of this server's own
-- journal when that was written.
CREATE TABLE edge_journal (
	point   TEXT   NOT NULL,
	journal TEXT   NOT NULL,
	shipped BIGINT NOT NULL,
	place   BIGINT NOT NULL,
	at      BIGINT NOT NULL,
	PRIMARY KEY (point, journal)
);
