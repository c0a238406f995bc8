-- +goose Up

-- Shipments that have left without units that are still to be sent, for the list
-- of them.
CREATE INDEX shipment_unsent ON shipment (n) WHERE instr(lines, '"unsent":') > 0;
