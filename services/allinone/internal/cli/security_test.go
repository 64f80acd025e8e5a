package cli

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What would make a key that never ends, or ask for a state that no key has, is
// refused before the gateway is asked.
func TestKeysWrongUsage(t *testing.T) {
	gateway := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the gateway was asked") })
	for args, want := range map[string]string{
		"keys create x --expires-in -1h":                "--expires-in",
		"keys update abcdefghjkmnpqrs --expires-in -1h": "--expires-in",
		"keys list --state gone":                        "active, revoked, expired, disabled",
	} {
		code, _, stderr := run(t, gateway, "", strings.Fields(args)...)
		if code != 2 || !strings.Contains(stderr, want) {
			t.Errorf("%s: code %d, stderr %q", args, code, stderr)
		}
	}
}

// What audit keys prints is what audit verify --key reads.
func TestVerifyReadsPrintedKeys(t *testing.T) {
	const key = "poterne-audit+9da08ea4+AekvJyYPJTl6BptS0SxJf2Qhp9FDzRqfMzN7TmD8bJZR"
	gateway := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"keys":[{"key":%q,"create_time":"2026-01-02T03:04:05Z"}]}`, key)
	})
	code, printed, stderr := run(t, gateway, "", "audit", "keys")
	if code != 0 {
		t.Fatalf("code %d: %s", code, stderr)
	}
	file := filepath.Join(t.TempDir(), "keys.txt")
	if err := os.WriteFile(file, []byte("# kept apart\n"+printed+"\n"+key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := readKeys([]string{file}); err != nil || !slices.Equal(got, []string{key, key}) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestDryRunSaysWhatWouldBe(t *testing.T) {
	gateway := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"version":4,"judged":2,"different":1,"differences":[{"request_id":"r1","decision":"deny","new_decision":"allow","new_rule":"default@4/x"}]}`)
	})
	code, out, stderr := run(t, gateway, "", "policies", "dry-run")
	if code != 0 || !strings.Contains(out, "WOULD-BE") || !strings.Contains(out, "allow") {
		t.Errorf("code %d, %s%s", code, out, stderr)
	}
}
