-- +goose Up

-- Who gave or took a credit: a user's id, or admin; empty for an order, and in rows
-- of before.
ALTER TABLE entry ADD COLUMN author TEXT NOT NULL DEFAULT '';
