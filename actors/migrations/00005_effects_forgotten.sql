-- +goose Up

-- The next_try of a closed effect is when it is forgotten: 72 h after it was
-- closed, and after this migration for those that were closed before.
UPDATE _effect SET next_try = (SELECT now FROM _actor) + 259200000000000 WHERE state = 'closed';
CREATE INDEX _effect_closed ON _effect (next_try) WHERE state = 'closed';
