-- Messages to people that a channel has not taken yet, and those it took.
CREATE TABLE notice (
	id       TEXT   NOT NULL PRIMARY KEY,
	severity TEXT   NOT NULL,
	at       BIGINT NOT NULL,
	body     TEXT   NOT NULL
);
CREATE TABLE delivery (
	notice   TEXT   NOT NULL,
	channel  TEXT   NOT NULL,
	status   TEXT   NOT NULL, -- waiting, done, refused
	attempts BIGINT NOT NULL,
	due      BIGINT NOT NULL,
	error    TEXT   NOT NULL,
	PRIMARY KEY (notice, channel)
);
CREATE INDEX delivery_due ON delivery (status, due);
