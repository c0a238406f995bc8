-- +goose Up

-- Who issued it: a user's id, or admin; empty in rows of before.
ALTER TABLE coupon ADD COLUMN author TEXT NOT NULL DEFAULT '';
