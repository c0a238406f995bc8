-- +goose Up

-- A refund of late money that the gateway refused may be made there by a person.
DROP TRIGGER refund_decided;
-- +goose StatementBegin
CREATE TRIGGER refund_decided BEFORE UPDATE ON refund WHEN old.state <> 'open'
    AND NOT (old.kind = 'late' AND old.state = 'refused' AND new.state = 'done') BEGIN
    SELECT raise(ABORT, 'a refund is decided once');
END;
-- +goose StatementEnd
