-- Whether what a point lets through carries a signed assertion of the decision.
-- The previous release writes none, and signs none.
ALTER TABLE point ADD COLUMN assert INTEGER NOT NULL DEFAULT 0;
