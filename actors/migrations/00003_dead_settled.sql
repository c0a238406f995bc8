-- Who settled a dead letter, or had it tried again the last time, and why.

-- +goose Up
ALTER TABLE _dead ADD COLUMN settled_by TEXT NOT NULL DEFAULT '';
ALTER TABLE _dead ADD COLUMN reason TEXT NOT NULL DEFAULT '';
ALTER TABLE _dead ADD COLUMN settled_at INTEGER NOT NULL DEFAULT 0;
