package e2e

import (
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"ordo/api"
	"ordo/bus"
)

// Programs that the documents' machine has: ordo, whose servers go on in the
// background until they are stopped, and the few things that documents ask of
// systemctl and nats-server.
const (
	ordoScript = `#!/bin/sh
case $1 in serve|sandbox) ;; *) exec "$BINARY" "$@" ;; esac
log=$(mktemp "$MACHINE/log.XXXXXX")
"$BINARY" "$@" >"$log" 2>&1 </dev/null &
echo $! >>"$MACHINE/pids"
for _ in $(seq 600); do
	grep -q '"msg":"serving"\|^sandbox gateway' "$log" && exit 0
	kill -0 $! 2>/dev/null || break
	sleep 0.1
done
cat "$log"
exit 1
`
	systemctlScript = `#!/bin/sh
test "$1" = stop || exit 1
touch "$MACHINE/pids"
for pid in $(cat "$MACHINE/pids"); do
	kill "$pid" 2>/dev/null || continue
	for _ in $(seq 600); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
done
rm "$MACHINE/pids"
`
	natsServerScript = `#!/bin/sh
"$MACHINE/nats-server.real" "$@" >>"$MACHINE/nats.log" 2>&1 </dev/null &
echo $! >>"$MACHINE/pids"
for _ in $(seq 600); do
	grep -q 'Server is ready' "$MACHINE/nats.log" && exit 0
	sleep 0.1
done
cat "$MACHINE/nats.log"
exit 1
`
)

// findsSomething is a command that a document says to exit with 1.
var findsSomething = regexp.MustCompile(`(?m)^(.*[^ ]) +# exit code 1: .*$`)

// machine is a shell on a machine as the documents think of one.
type machine struct {
	*shell
	// names are the documents' names of what is elsewhere here.
	names []string
}

// newMachine makes a machine with the documents' names for what is elsewhere.
func newMachine(t *testing.T, env []string, names ...string) *machine {
	t.Helper()
	dir := buildTools(t, "nats-server", "nats")
	if err := os.Rename(filepath.Join(dir, "nats-server"),
		filepath.Join(dir, "nats-server.real")); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"ordo": ordoScript, "systemctl": systemctlScript,
		"nats-server": natsServerScript} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	env = append(env, "MACHINE="+dir, "BINARY="+binary, "ORDO_LOG_FORMAT=json",
		"XDG_CONFIG_HOME="+filepath.Join(dir, "config"),
		"ORDO_ADMIN_TOKEN="+adminToken)
	m := &machine{newShell(t, dir, env...), append(names, "adm_…", adminToken, "sk_live_…", "sk_live_1", "whsec_…", "whsec_1")}
	t.Cleanup(func() {
		stop := exec.Command("sh", filepath.Join(dir, "systemctl"), "stop")
		stop.Env = append(os.Environ(), "MACHINE="+dir)
		if out, err := stop.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
	return m
}

// runs types in the blocks of a document, each as edit changes it.
func (m *machine) runs(page string, edit func(commands string) string) {
	m.t.Helper()
	all := blocks(m.t, page, "run")
	if len(all) == 0 {
		m.t.Errorf("%s has no commands", page)
	}
	for _, b := range all {
		commands := strings.NewReplacer(m.names...).Replace(edit(b.commands))
		m.run(findsSomething.ReplaceAllString(commands, "$1 || test $$? = 1"), b.prints)
	}
}

// has writes a file into the directory where the shell works.
func (m *machine) has(name string, text []byte) {
	m.t.Helper()
	if err := os.WriteFile(filepath.Join(m.dir, name), text, 0o600); err != nil {
		m.t.Fatal(err)
	}
}

// ACCEPT P9 M5 M7 M11
// The commands of the guide for operators do what it says, on a shop that has
// sold, with a message that it could not handle.
func TestOperatorsCommands(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := serve(t, data, "--currency", "GBP", "--webhook-insecure").ready()
	others := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(others.Close)
	p.admin().must("POST", "/admin/v1/webhooks", map[string]any{"url": others.URL}, nil)
	ann := p.shopper()
	sku := p.onSale(1000, 9)
	paid, _ := ann.bought(p.till(), sku, 2)
	rule(t, data, `CREATE TRIGGER broken BEFORE INSERT ON coupon WHEN new.name = 'bad'
		BEGIN SELECT RAISE(ABORT, 'broken as planned'); END`)
	for range 2 {
		p.admin().problem("POST", "/admin/v1/coupons", map[string]any{"coupons": []any{map[string]any{
			"user": ann.id, "name": "bad", "amount": gbp(5), "valid_from": "2026-01-01T00:00:00Z",
			"valid_until": "2036-01-01T00:00:00Z"}}}, http.StatusInternalServerError, api.CodeInternal)
	}
	rule(t, data, `DROP TRIGGER broken`)
	status, statement, err := p.as("").call("GET", "/sandbox/statement.csv", nil)
	if err != nil || status != http.StatusOK {
		t.Fatal(status, err)
	}
	if code := p.stop(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	cert, key, _ := certificate(t)
	addr, backups := crashFreeAddr(t), t.TempDir()
	m := newMachine(t, []string{"SSL_CERT_FILE=" + cert, "ORDO_NATS_LISTEN=127.0.0.1:0",
		"ORDO_HTTP=127.0.0.1:0", "ORDO_SANDBOX=true", "ORDO_WEBHOOK_INSECURE=true", "ORDER=" + paid.ID},
		"/var/lib/ordo", data, "/backup", backups, "0.0.0.0:8443", addr,
		"https://shop.example", "https://"+addr, "cert.pem", cert, "key.pem", key)
	m.has("statement.csv", statement)
	// A letter that a broken file made can't be made again from the stream.
	sound := t.TempDir()
	q := serve(t, sound)
	q.shopper().bought(q.till(), q.onSale(1000, 9), 1)
	if code := q.stop(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	m.runs("../docs/operations.md", func(commands string) string {
		if strings.Contains(commands, "ordo verify") {
			return strings.ReplaceAll(commands, "/var/lib/ordo", sound)
		}
		return commands
	})
	m.runs("../docs/webhooks.md", func(commands string) string {
		return "systemctl stop ordo\nordo serve --data /var/lib/ordo --http 0.0.0.0:8443 " +
			"--tls-cert cert.pem --tls-key key.pem\n" + strings.ReplaceAll(commands, "https://erp.example/ordo", others.URL)
	})
}

// ACCEPT M6 Y1
// The README's commands for other gateways, and for actors as processes of their
// own, start what they say.
func TestReadmeServers(t *testing.T) {
	t.Parallel()
	cert, key, _ := certificate(t)
	env := []string{"ORDO_NATS_LISTEN=127.0.0.1:0", "SSL_CERT_FILE=" + cert}
	for _, user := range append(bus.ActorNames(), confUsers...) {
		env = append(env, "ORDO_NATS_"+strings.ToUpper(user)+"="+confPassword(user))
	}
	shop, sandbox, nats, edge := crashFreeAddr(t), crashFreeAddr(t), crashFreeAddr(t),
		crashFreeAddr(t)
	m := newMachine(t, append(env, "ORDO_HTTP="+shop), "127.0.0.1:8090", sandbox,
		"127.0.0.1:4222", nats, "0.0.0.0:8443", edge, "cert.pem", cert, "key.pem", key)
	m.has("nats.conf", []byte(strings.ReplaceAll(read(t, "../nats.conf"), "127.0.0.1:4222", nats)))
	for i, name := range []string{"app", "gateway"} {
		m.has(name+".pem", keys[i])
		m.has(name+"-public.pem", publicOf(t, keys[i]))
	}
	m.has("app-private.pem", keys[0])
	m.has("alipay-public.pem", publicOf(t, keys[1]))
	m.has("statement.csv", []byte("kind,out_trade_no,trade_no,out_request_no,amount,currency,time\n"))
	m.runs("../README.md", func(commands string) string { // each is about a shop of its own
		return "systemctl stop ordo\n" + commands
	})
}

// publicOf is the public key of a private one, both in PEM.
func publicOf(t *testing.T, private []byte) []byte {
	t.Helper()
	block, _ := pem.Decode(private)
	key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}
