-- What became of the last try of an effect that had no final outcome.

-- +goose Up
ALTER TABLE _effect ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;
ALTER TABLE _effect ADD COLUMN error TEXT NOT NULL DEFAULT '';
ALTER TABLE _effect ADD COLUMN failed_at INTEGER NOT NULL DEFAULT 0;

-- Work names its order, or the attempt to pay of one.
CREATE INDEX _effect_order ON _effect (coalesce(body ->> '$.order', body ->> '$.attempt.order', ''));
