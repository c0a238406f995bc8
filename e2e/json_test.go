package e2e

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// helpCommand is a command in the list of all.
var helpCommand = regexp.MustCompile(`(?m)^  ([a-z]+(?:-[a-z]+)?(?: [a-z]+)?)  +[A-Z]`)

// noData are the commands without a result for programs: servers, and what prints
// a file of its own form.
var noData = []string{"serve", "demo", "sandbox", "asyncapi", "completion",
	"goods export"}

// jsonShop is a shop with an order that is paid, and two letters of the coupon actor.
func jsonShop(t *testing.T, data string) (p *process, order string) {
	t.Helper()
	p = serve(t, data, "--webhook-insecure").ready()
	s := p.shopper()
	o := s.buy(p.onSale(100, 5), 1)
	rule(t, data, `CREATE TRIGGER broken BEFORE INSERT ON coupon WHEN new.name LIKE 'bad%'
		BEGIN SELECT RAISE(ABORT, 'broken as planned'); END`)
	for range 2 {
		if status, body, err := p.admin().call("POST", "/admin/v1/coupons", map[string]any{
			"coupons": []map[string]any{{"user": s.id, "name": "bad",
				"amount":     map[string]any{"amount": 5, "currency": "GBP"},
				"valid_from": "2026-01-01T00:00:00Z", "valid_until": "2036-01-01T00:00:00Z"}},
		}); err != nil || status != 500 {
			t.Fatalf("%v %d %s", err, status, body)
		}
	}
	p.importCSV("sku,spu,name,price,stock", "MUG,MUG,Mug,1.00,5")
	return p, o.ID
}

// jsonFile is a file of the test's own.
func jsonFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// jsonLine is a command line, what it must print, and its exit code.
type jsonLine struct {
	args, want string
	code       int
}

// anyCode is of a command whose exit code depends on the machine.
const anyCode = -1

// jsonLines are command lines for a shop, its data directory and one of its orders.
func jsonLines(t *testing.T, p *process, top, order string) []jsonLine {
	t.Helper()
	data, saved := filepath.Join(top, "data"), filepath.Join(top, "saved")
	_, body := fetch(p.url + "/sandbox/statement.csv")
	statement := jsonFile(t, "statement.csv", body)
	goods := jsonFile(t, "goods.csv", "sku,spu,name,price,stock\nCUP,CUP,Cup,1.00,5\n")
	remote := " --server " + p.url
	sample := func(name string) string { return filepath.Join("..", "cmd", "ordo", "sample", name) }
	others := newEndpoint(t, nil)
	p.hooks(others)
	hook := others.hook.ID
	return append([]jsonLine{
		{"webhook ls" + remote, hook, 0},
		{"webhook create --types order.paid http://127.0.0.1:9/" + remote, `"secret":"whsec_`, 0},
		{"webhook test " + hook + remote, `"state":"delivered"`, 0},
		{"webhook deliveries " + hook + remote, `"type":"webhook.test"`, 0},
		{"webhook replay --since 2026-01-01T00:00:00Z " + hook + remote, `"`, 0},
		{"webhook rotate " + hook + remote, `"secret":"whsec_`, 0},
		{"webhook set --types order.paid " + hook + remote, `"types":["order.paid"]`, 0},
		{"webhook set --types all --disable " + hook + remote, `"types":[],"enabled":false`, 0},
		{"webhook delete " + hook + remote, hook, 0},
		{"tx ls" + remote, order, 0},
		{"tx retry " + order + " --reason hope" + remote, `"steps":`, 0},
		{"tx settle " + order + " --reason hope" + remote, `"found":`, 0},
		{"tx cancel " + order + " --reason enough" + remote, `"cancelled"`, 0},
	}, []jsonLine{
		{"setup --nats " + p.nats, `"streams":[{"name":"ORDER"`, 0},
		{"reconcile --data " + data + " --statement " + statement, `"ok":true`, 0},
		{"replay --limit 2 --orders " + sample("orders-week.csv.gz") + " --catalog " +
			sample("catalog-week.csv.gz") + remote, `"offered":2`, 0},
		{"bench --orders 2 --concurrency 1" + remote, `"orders":2`, 0},
		{"goods import " + goods + remote, `"skus":1`, 0},
		{"goods receive CUP 3" + remote, `"stock":8`, 0},
		{"goods adjust CUP 1 --reason counted" + remote, `"stock":9`, 0},
		{"goods ledger CUP" + remote, `counted`, 0},
		{"coupon issue --user ann@example.com --name Welcome --amount 5" + remote, `"id":"cpn_`, 0},
		{"coupon ls ann@example.com" + remote, `Welcome`, 0},
		{"dead ls" + remote, `"actor":"coupon"`, 0},
		{"dead show coupon 1" + remote, `broken as planned`, 0},
		{"dead retry coupon 1 --reason hope" + remote, `"n":1,"state":"open"`, 1},
		{"dead dismiss coupon 2 --reason enough" + remote, `"n":2,"state":"dismissed"`, 0},
		{"tx show " + order + " --data " + data, order, 0},
		{"audit --data " + data, `"ok":true`, 0},
		{"verify goods --data " + data, `"verdict":"equal"`, 0},
		{"at --actor order --seq 1 --out " + filepath.Join(top, "at.db") + " --data " + data,
			`"actor":"order","seq":1`, 0},
		{"backup --data " + data + " " + saved, `"actor":"journal"`, 0},
		{"restore --data " + filepath.Join(top, "new") + " " + saved, `"next":["ordo repair`, 0},
		{"repair --data " + data, `"applied":false`, 0},
		{"config print", `"name":"http"`, 0},
		{"config check " + jsonFile(t, "ordo.yaml", "expiry: 5m\n"), `"ok":true`, 0},
		{"doctor --data " + data + remote, `"findings":[{"level":`, anyCode},
		{"nats-context --data " + data, p.nats, 0},
		{"version", `"version":`, 0},
	}...)
}

// ACCEPT P4
// Every command that prints a result prints JSON, and nothing else on stdout, when
// it is asked to, on a shop that runs.
func TestEveryCommandPrintsJSON(t *testing.T) {
	top := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", top)
	t.Setenv("ORDO_ADMIN_TOKEN", adminToken)
	p, order := jsonShop(t, filepath.Join(top, "data"))
	p.admin().must("POST", "/admin/v1/users", map[string]any{"users": []map[string]any{
		{"email": "ann@example.com"}}}, nil)
	left := map[string]bool{}
	for _, m := range helpCommand.FindAllStringSubmatch(commands(t, 0, nil, "--help"), -1) {
		left[m[1]] = !slices.Contains(noData, m[1])
	}
	if len(left) < 25 {
		t.Fatalf("the list of commands was not read: %v", left)
	}
	for _, l := range jsonLines(t, p, top, order) {
		args := append([]string{"--log-level", "error"}, strings.Fields(l.args)...)
		first, rest, _ := strings.Cut(l.args, " ")
		second, _, _ := strings.Cut(rest, " ")
		delete(left, first)
		delete(left, first+" "+second)
		if out := printsJSON(t, l.code, append(args, "--json")); !strings.Contains(out, l.want) {
			t.Errorf("ordo %s: %s is not in\n%s", l.args, l.want, out)
		}
	}
	for name, untried := range left {
		if untried {
			t.Errorf("ordo %s is not tried", name)
		}
	}
}

// printsJSON runs a command whose stdout must be JSON documents, and answers them.
func printsJSON(t *testing.T, code int, args []string) string {
	t.Helper()
	cmd := exec.Command(binary, args...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); cmd.ProcessState == nil ||
		code != anyCode && cmd.ProcessState.ExitCode() != code {
		t.Errorf("ordo %v: %v, want %d\n%s%s", args, err, code, &out, &errs)
	}
	decoder, n := json.NewDecoder(strings.NewReader(out.String())), 0
	for {
		var any json.RawMessage
		err := decoder.Decode(&any)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Errorf("ordo %v: %v in\n%s", args, err, &out)
			break
		}
		n++
	}
	if n == 0 {
		t.Errorf("ordo %v prints nothing\n%s", args, &errs)
	}
	return out.String()
}

// ACCEPT P4
// bash, given the script, completes commands, flags, values and files by asking the
// command that is found in the PATH.
func TestBashCompletes(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink(binary, filepath.Join(dir, "ordo")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "some file.csv"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const script = `source <(ordo completion bash)
		complete -p ordo
		COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _ordo; printf '%s\n' "${COMPREPLY[@]}"`
	for line, want := range map[string]string{
		"ordo|de":                      "demo\ndead",
		"ordo|dead|":                   "ls\nshow\nretry\ndismiss",
		"ordo|dead|ls|--st":            "--state",
		"ordo|dead|ls|--state|=|o":     "open",
		"ordo|serve|--tls-c":           "--tls-cert",
		"ordo|verify|wal":              "wallet",
		"ordo|goods|import|some":       "some file.csv",
		"ordo|audit|--data|=":          "ordo\nsome file.csv",
		"./ordo|completion|":           "bash\nzsh\nfish",
		"ordo|nothing|of|the|kind|--n": "",
	} {
		cmd := exec.Command("bash", append([]string{"-c", script, "bash"}, strings.Split(line, "|")...)...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil ||
			got != strings.TrimSpace("complete -F _ordo ordo\n"+want) {
			t.Errorf("%q: %v\n%s", line, err, got)
		}
	}
}
