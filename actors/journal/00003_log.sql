-- What the log may forget. Row P8.

-- +goose Up

CREATE INDEX delivery_ended ON delivery (n) WHERE ended > 0;
