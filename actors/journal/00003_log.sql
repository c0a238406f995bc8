-- What the log may forget, and what in it a person looks for. Row P8.

-- +goose Up

CREATE INDEX delivery_ended ON delivery (n) WHERE ended > 0;
CREATE INDEX delivery_undelivered ON delivery (webhook) WHERE state IN ('failed', 'skipped');
