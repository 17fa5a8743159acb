-- Whose request it was, as a keyed hash, so that what one caller has
-- remembered can be bounded. Empty: the previous release remembered it.
ALTER TABLE reply ADD COLUMN caller TEXT NOT NULL DEFAULT '';
CREATE INDEX reply_by_caller ON reply (caller, started);
