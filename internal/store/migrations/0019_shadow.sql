-- Policies that are tried on live decisions after the answer. There is one
-- shadow at a time; starting another takes its place.
CREATE TABLE shadow (
  place      BIGINT PRIMARY KEY, -- always 1
  id         TEXT   NOT NULL,
  digest     TEXT   NOT NULL,
  files      TEXT   NOT NULL,    -- JSON: text by name
  author     TEXT   NOT NULL,
  started    BIGINT NOT NULL,
  stopped    BIGINT NOT NULL,    -- 0: it runs
  judged     BIGINT NOT NULL,
  unanswered BIGINT NOT NULL,
  denied     BIGINT NOT NULL,
  step_up    BIGINT NOT NULL,
  allowed    BIGINT NOT NULL,
  dropped    BIGINT NOT NULL,
  unkept     BIGINT NOT NULL,
  errors     BIGINT NOT NULL
);

-- Decisions that it would have made otherwise; the oldest make room.
CREATE TABLE shadow_difference (
  decision TEXT   PRIMARY KEY,
  at       BIGINT NOT NULL,
  kind     TEXT   NOT NULL,
  identity TEXT   NOT NULL,
  resource TEXT   NOT NULL,
  body     TEXT   NOT NULL
);
CREATE INDEX shadow_difference_by_time ON shadow_difference (at, decision);
CREATE INDEX shadow_difference_by_identity ON shadow_difference (identity, at);
CREATE INDEX shadow_difference_by_resource ON shadow_difference (resource, at);
