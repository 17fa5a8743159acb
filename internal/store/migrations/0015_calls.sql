-- When each enforcement point last asked.
CREATE TABLE point_call (
	point TEXT   NOT NULL PRIMARY KEY,
	last  BIGINT NOT NULL
);
