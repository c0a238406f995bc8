package main

import (
	"bytes"
	"encoding/json"
	"fmt"

	"ordo/api/schema"
)

// AsyncAPICmd prints what is on which subject, for tools. Row P5.
type AsyncAPICmd struct{}

// Run implements the command.
func (*AsyncAPICmd) Run(t *terminal) error {
	var b bytes.Buffer
	if err := json.Indent(&b, schema.AsyncAPI(Version), "", " "); err != nil {
		return fmt.Errorf("asyncapi: %w", err)
	}
	_, err := fmt.Fprintln(t.Out, &b)
	return err
}
