-- +goose Up

-- Who had the stock changed: a user's id, or admin; empty for an order, and in rows
-- of before.
ALTER TABLE ledger ADD COLUMN author TEXT NOT NULL DEFAULT '';
