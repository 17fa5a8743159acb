-- How much each identity did in each hour. n counts calls and requests.
CREATE TABLE usage_hour (
	start        BIGINT NOT NULL,
	identity     TEXT   NOT NULL, -- empty: nobody proven
	environment  TEXT   NOT NULL,
	service      TEXT   NOT NULL,
	region       TEXT   NOT NULL,
	jurisdiction TEXT   NOT NULL,
	basis        TEXT   NOT NULL, -- exact, region or address: how the jurisdiction is known
	outcome      TEXT   NOT NULL,
	n            BIGINT NOT NULL,
	PRIMARY KEY (start, identity, service, region, outcome, environment, jurisdiction, basis)
);
CREATE INDEX usage_hour_by_identity ON usage_hour (identity, start);

-- The same by day, for what is older than 90 days.
CREATE TABLE usage_day (
	start        BIGINT NOT NULL,
	identity     TEXT   NOT NULL,
	environment  TEXT   NOT NULL,
	service      TEXT   NOT NULL,
	region       TEXT   NOT NULL,
	jurisdiction TEXT   NOT NULL,
	basis        TEXT   NOT NULL,
	outcome      TEXT   NOT NULL,
	n            BIGINT NOT NULL,
	PRIMARY KEY (start, identity, service, region, outcome, environment, jurisdiction, basis)
);
CREATE INDEX usage_day_by_identity ON usage_day (identity, start);

-- Every refusal: who was not let in, and why. n is more than 1 where a flood
-- was counted instead of listed.
CREATE TABLE refusal (
	id        TEXT   NOT NULL PRIMARY KEY,
	at        BIGINT NOT NULL,
	minute    BIGINT NOT NULL, -- of at
	kind      TEXT   NOT NULL,
	identity  TEXT   NOT NULL,
	claimed   TEXT   NOT NULL,
	point     TEXT   NOT NULL,
	address   TEXT   NOT NULL,
	operation TEXT   NOT NULL,
	resource  TEXT   NOT NULL,
	reason    TEXT   NOT NULL,
	n         BIGINT NOT NULL
);
CREATE INDEX refusal_by_time     ON refusal (at, id);
CREATE INDEX refusal_by_minute   ON refusal (minute, address, kind);
