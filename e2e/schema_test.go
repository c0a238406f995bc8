package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// released are the SQL files that shops have on their disks, with their SHA-256.
// A file of a shop was made by them and is never made anew, so a released one
// must not change by a byte, its comments included: what is to be different is a
// migration, 0000N_….sql, with a line here.
var released = map[string]string{
	"actors/coupon/00002_author.sql":                "e072475b71508c7dfbcf3c0a20fd665082024ae767ec211f56e320528da34983",
	"actors/coupon/schema.sql":                      "d92396621bf76c7a002811df33a5413bb730c26fb25d9f85748bac9ddf13e9cd",
	"actors/goods/00002_author.sql":                 "41f13c09bd469edb27a29b20dfe9c84f7d03f60459fc84935d759155fddd30b1",
	"actors/goods/schema.sql":                       "4923659b719b003b913dde867924f68593312d37845de598774fde2d5943b81e",
	"actors/journal/00002_webhooks.sql":             "2aec05f9d243ea9d773615b031b1878a9d6496f9be8fac01142dd9aa5a77809f",
	"actors/journal/00003_log.sql":                  "8ff22d8bf7610813f194db6095e8209ced4f27f2793c30b4a34a3423f24287df",
	"actors/journal/schema.sql":                     "a848938470b31938c29ca4cbdca897750d7d40d0d9819612ebf059d559f6cde3",
	"actors/learning/schema.sql":                    "c236f332fc71e8194cf18a0f3a3346f38b942b4bce2b0109d22d203811498416",
	"actors/migrations/00002_cuts.sql":              "c2b705c4469f34dee476817c8976249985f3f7c71ad40ac35a5e2949ae8dda17",
	"actors/migrations/00003_dead_settled.sql":      "b05a80a8a0829f27e28e5baaf6886cc1c9274e8ba55dd57a7ca310e519a4586c",
	"actors/migrations/00005_effects_forgotten.sql": "ca3beff9ed1671c10cdddabf4ac2b6be14a2b58bf4d03abdfa6635b8f9e27740",
	"actors/migrations/00004_effect_errors.sql":     "ea1489217289fb330e9ab82b89f353309f5637c8818a2bbf3289caf511a41894",
	"actors/order/00002_transactions.sql":           "78c7ed9f6dc5d9c812c31c272d237a18b00015a532bf55f7d1a80a2161709922",
	"actors/order/schema.sql":                       "8be6712d98aeae796933a8c32bc67e12ab80eda84b1b71cca401ef19f5fd4939",
	"actors/payment/00002_late_refunds.sql":         "2acb3cc0c0c490bbe624590d89bb87512a93f2121f593acb39b9054ae50735c8",
	"actors/payment/sandbox/schema.sql":             "66d6e5d5b3a8ec9575c76603062d4dde847a6684e8681676a6fcda0ae4948fb4",
	"actors/payment/schema.sql":                     "43e5a0876cd74a7f29748347ae73784320b0ce6b5e361912bec60702f2000231",
	"actors/schema.sql":                             "618e9a20bbdfc3e00e5a25c070153a11474a4a99df2bcfba820e2c821e13ec25",
	"actors/shipping/00002_unsent.sql":              "d6fafedc7e619cd4327a155438087ce8eb3185a33a503399bffb2b70e1c5abfb",
	"actors/shipping/schema.sql":                    "d8f7d6e12b4342d4141ccc8e3fa7d6e3c9f139274e40029070143f8150249c94",
	"actors/user/schema.sql":                        "760d10402a37402f7a178621988edef5cf721fd36c918c29c8b02c970c03bc60",
	"actors/wallet/00002_author.sql":                "6284bc05d46ed367c8e4a80a339061a7cb9255214c3daf81f6796bc14a418ec6",
	"actors/wallet/schema.sql":                      "5211bf6e2a7e366cc582af5bcfb09d240b0f19bd93348392c435857f8aad6934",
}

// TestReleasedSchemasStay: nobody edits a schema that files of shops were made
// with.
func TestReleasedSchemasStay(t *testing.T) {
	seen := map[string]bool{}
	if err := filepath.WalkDir("../actors", func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".sql" {
			return err
		}
		name, err := filepath.Rel("..", path)
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		sum := sha256.Sum256(text)
		got := hex.EncodeToString(sum[:])
		switch want, ok := released[filepath.ToSlash(name)]; {
		case !ok:
			t.Errorf("%s is new: add its line to released:\n\t%q: %q,", name, name, got)
		case got != want:
			t.Errorf("%s was edited: never edit it, files of shops were made with it and would miss "+
				"the change; put it back and add a migration", name)
		}
		seen[filepath.ToSlash(name)] = true
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for name := range released {
		if !seen[name] {
			t.Errorf("%s is gone: files of shops were made with it", name)
		}
	}
}
