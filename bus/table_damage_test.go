package bus_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ordo/bus"
)

// ACCEPT M9
// What describes streams and consumers on disk is damaged. The streams are
// there at the next start, or made anew by Setup, with what they held, and a
// mailbox can be read.
func TestSetupAfterDamage(t *testing.T) {
	n := newNet(t)
	n.fill(1, 3)
	actors := []string{"coupon", "goods", "shipping"}
	seek := func() {
		t.Helper()
		for _, actor := range actors {
			m := bus.OpenMailbox(n.nc, n.js, actor)
			if _, err := m.Seek(t.Context(), bus.Place{}, 0); err != nil {
				t.Errorf("%s: %v", actor, err)
			}
			if err := m.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	seek()
	n.again()
	n.server.Shutdown()
	path := func(stream string, more ...string) string {
		return filepath.Join(append([]string{n.dir, "jetstream", "$G", "streams", stream}, more...)...)
	}
	damage := func(path string, how func(text []byte) []byte) {
		t.Helper()
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		after := how(bytes.Clone(text))
		if bytes.Equal(text, after) {
			t.Fatalf("%s is not damaged: %s", path, text)
		}
		if err := os.WriteFile(path, after, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	damage(path("COUPON", "obs", "coupon-0", "meta.inf"), func(text []byte) []byte {
		return bytes.Replace(text, []byte("ack_policy"), []byte("ack_qolicy"), 1)
	})
	damage(path("GOODS", "obs", "goods-0", "o.dat"), func(text []byte) []byte {
		text[1] ^= 0x40 // the version
		return text
	})
	damage(path("SHIPPING", "meta.sum"), func([]byte) []byte { return nil })
	n.again()
	if err := bus.Check(t.Context(), n.js); err == nil ||
		strings.Count(err.Error(), "\n") != 0 || !strings.Contains(err.Error(), "SHIPPING") {
		t.Errorf("not SHIPPING alone is missing: %v", err)
	}
	if err := bus.Setup(t.Context(), n.js, 0); err != nil {
		t.Fatal(err)
	}
	seek()
	n.again()
	if err := bus.Check(t.Context(), n.js); err != nil {
		t.Errorf("after another start: %v", err)
	}
	seek()
	if m := n.message("GOODS", 3); string(m.Data) != `{"n":3}` {
		t.Errorf("message 3 is %s", m.Data)
	}
}
