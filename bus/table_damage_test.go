package bus_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"ordo/bus"
)

// ACCEPT M9
// What describes a stream or a consumer on disk is damaged. The stream is made
// anew, and is there at the start after that.
func TestSetupAfterDamage(t *testing.T) {
	n := newNet(t)
	for _, actor := range []string{"coupon", "shipping"} {
		m := bus.OpenMailbox(n.nc, n.js, actor)
		if _, err := m.Seek(t.Context(), bus.Place{}, 0); err != nil {
			t.Fatal(err)
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
	n.again()
	damaged := filepath.Join(n.dir, "jetstream", "$G", "streams", "COUPON", "obs", "coupon-0",
		"meta.inf")
	text, err := os.ReadFile(damaged)
	if err != nil || !bytes.Contains(text, []byte("ack_policy")) {
		t.Fatalf("%v: %s", err, text)
	}
	n.server.Shutdown()
	if err := os.WriteFile(damaged, bytes.Replace(text, []byte("ack_p"), []byte("ack_q"), 1),
		0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(n.dir, "jetstream", "$G", "streams", "SHIPPING",
		"meta.sum"), 0); err != nil {
		t.Fatal(err)
	}
	n.again()
	if err := bus.Check(t.Context(), n.js); err == nil {
		t.Error("nothing is missing, so nothing was damaged")
	}
	dropped, err := bus.DropOffline(t.Context(), n.js)
	if err != nil || !slices.Equal(dropped, []string{"COUPON"}) {
		t.Errorf("dropped %v, %v", dropped, err)
	}
	if err := bus.Setup(t.Context(), n.js); err != nil {
		t.Fatal(err)
	}
	n.again()
	if err := bus.Check(t.Context(), n.js); err != nil {
		t.Errorf("after another start: %v", err)
	}
	if dropped, err := bus.DropOffline(t.Context(), n.js); err != nil || len(dropped) != 0 {
		t.Errorf("dropped %v, %v", dropped, err)
	}
}
