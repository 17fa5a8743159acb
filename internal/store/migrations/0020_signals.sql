-- Streams of shared signals. body is the stream, sealed the encrypted value of
-- the header that its receiver wants.
CREATE TABLE signal_stream (
	id       TEXT   NOT NULL PRIMARY KEY,
	receiver TEXT   NOT NULL,
	created  BIGINT NOT NULL,
	body     TEXT   NOT NULL,
	sealed   BYTEA  NOT NULL
);
CREATE INDEX signal_stream_by_receiver ON signal_stream (receiver, created);

-- Subjects that receivers removed from their streams.
CREATE TABLE signal_exclusion (
	stream  TEXT NOT NULL,
	subject TEXT NOT NULL,
	PRIMARY KEY (stream, subject)
);

-- Events that a receiver has not acknowledged, in their order.
CREATE TABLE signal_outbox (
	stream TEXT   NOT NULL,
	seq    BIGINT NOT NULL,
	id     TEXT   NOT NULL, -- jti
	at     BIGINT NOT NULL,
	claims TEXT   NOT NULL,
	PRIMARY KEY (stream, seq)
);
CREATE UNIQUE INDEX signal_outbox_by_id ON signal_outbox (stream, id);
CREATE INDEX signal_outbox_by_at ON signal_outbox (at);

-- What was last told of an identity or credential that is not as they usually
-- are, and how far the sequence was told.
CREATE TABLE signal_known (
	id   TEXT NOT NULL PRIMARY KEY,
	body TEXT NOT NULL
);
CREATE TABLE signal_position (
	id  INTEGER NOT NULL PRIMARY KEY,
	seq BIGINT  NOT NULL
);

-- What peers said and may not say again.
CREATE TABLE signal_heard (
	peer  TEXT   NOT NULL,
	jti   TEXT   NOT NULL,
	until BIGINT NOT NULL,
	PRIMARY KEY (peer, jti)
);
CREATE INDEX signal_heard_by_until ON signal_heard (until);
