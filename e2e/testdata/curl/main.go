// Command curl does what the README asks of curl, so that its commands can be
// tested where there is none. It knows no other flags, and ends with 22 where
// nothing came back.
package main

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "curl:", err)
		os.Exit(22)
	}
}

func run(args []string) error {
	r := request{header: http.Header{}}
	if err := r.parse(args); err != nil {
		return err
	}
	req, err := http.NewRequest(r.method, r.url, strings.NewReader(r.body))
	if err != nil {
		return err
	}
	req.Header = r.header
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if r.head {
		fmt.Println(resp.Proto, resp.Status)
		for _, name := range slices.Sorted(keys(resp.Header)) {
			fmt.Printf("%s: %s\n", name, resp.Header.Get(name))
		}
		fmt.Println()
	}
	_, err = io.Copy(os.Stdout, resp.Body)
	return err
}

func keys(h http.Header) func(func(string) bool) {
	return func(yield func(string) bool) {
		for name := range h {
			if !yield(name) {
				return
			}
		}
	}
}

// request is what the arguments ask for.
type request struct {
	method, url, body string
	header            http.Header
	head              bool
}

func (r *request) parse(args []string) error {
	for len(args) > 0 {
		flag := args[0]
		args = args[1:]
		switch {
		case flag == "-sS" || flag == "-N":
			continue
		case flag == "-i":
			r.head = true
			continue
		case !strings.HasPrefix(flag, "-"):
			r.url = flag
			continue
		case len(args) == 0:
			return fmt.Errorf("%s needs a value", flag)
		}
		if err := r.set(flag, args[0]); err != nil {
			return err
		}
		args = args[1:]
	}
	return nil
}

func (r *request) set(flag, value string) (err error) {
	switch flag {
	case "-X":
		r.method = value
	case "-H":
		name, text, _ := strings.Cut(value, ":")
		r.header.Set(name, strings.TrimSpace(text))
	case "--json":
		r.header.Set("Content-Type", "application/json")
		r.method = cmp.Or(r.method, "POST")
		r.body, err = content(value)
	case "--data-binary":
		r.method = cmp.Or(r.method, "POST")
		r.body, err = content(value)
	default:
		err = fmt.Errorf("what is %s?", flag)
	}
	return err
}

// content is a body as it stands in the arguments, a file or standard input.
func content(s string) (string, error) {
	name, file := strings.CutPrefix(s, "@")
	if !file {
		return s, nil
	}
	if name == "-" {
		name = "/dev/stdin"
	}
	b, err := os.ReadFile(name)
	return string(b), err
}
