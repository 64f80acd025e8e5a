package extract

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/poterne/poterne/pkg/apierr"
)

// asked has a file read by a program that is this script.
func asked(t *testing.T, script string, limits Limits) (Document, error) {
	t.Helper()
	limits.PDFProgram = filepath.Join(t.TempDir(), "poterne-pdf")
	limits.CacheDir = t.TempDir()
	if err := os.WriteFile(limits.PDFProgram, []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	return New(limits).Extract(t.Context(), []byte(strings.Repeat("%PDF", 1<<18)), "application/pdf")
}

// Whatever the program does that a file has taken over, it is that file's fault, in
// bounded time and memory.
func TestPDFProgramsAreNotBelieved(t *testing.T) {
	limits := DefaultLimits()
	limits.OutputBytes = 1 << 16
	for name, script := range map[string]string{
		"says nothing":          `exit 0`,
		"fails":                 `echo '{"text":"x"}'; exit 1`,
		"is killed":             `kill -9 $$`,
		"talks of other things": `echo hello`,
		"is torn":               `printf '{"title":"a","text":"bcd'`,
		"says two things":       `printf '{"text":"a"}{"text":"b"}'`,
		"never ends":            `while :; do echo '{"text":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"'; done`,
		"says too much":         `printf '{"text":"'; i=0; while [ $i -lt 2000 ]; do printf 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'; i=$((i+1)); done; printf '"}'`,
		"says it is our fault":  `echo '{"reason":"INTERNAL","message":"\u001b[31mthe database is down"}'`,
	} {
		began := time.Now()
		doc, err := asked(t, script, limits)
		e := apierr.From(err)
		if err == nil || e.Field != fieldContent || e.Reason != apierr.InvalidArgument && e.Reason != apierr.PayloadTooLarge || strings.ContainsRune(e.Message, 0x1b) {
			t.Errorf("a program that %s: %q, %v", name, doc, err)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("a program that %s took %v", name, took)
		}
	}
	if doc, err := asked(t, `echo '{"title":"A","text":"b"}'`, limits); err != nil || doc.Title != "A" || doc.Text != "b" {
		t.Errorf("an honest program: %q, %v", doc, err)
	}
}

func FuzzPDFAnswer(f *testing.F) {
	for _, s := range []string{`{"title":"a","text":"b"}`, `{"reason":"UNAVAILABLE","message":"x\u0000"}`, `{"text":"abc`, `[]`, `null`, `{"text":1}`, ``} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		const most = 64
		doc, err := documentOf(raw, most)
		if err == nil && len(doc.Text) > most {
			t.Fatalf("a text of %d bytes", len(doc.Text))
		}
		if e, ok := err.(*apierr.Error); ok { //nolint:errorlint // it is not wrapped
			if e.Field != fieldContent || e.HTTPStatus() >= 500 || utf8.RuneCountInString(e.Message) > messageRunes || !utf8.ValidString(e.Message) {
				t.Fatalf("%+v", e)
			}
		}
	})
}

func TestTheSandboxIsKeptWhereItCanBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wanted := filepath.Join(t.TempDir(), "a", "b")
	t.Setenv("HOME", file)
	t.Setenv("XDG_CACHE_HOME", "")
	c := sandboxCache{wanted: wanted}
	if got := c.dir(); got != wanted {
		t.Errorf("it is kept in %q", got)
	}
	if err := c.close(); err != nil || !writable(wanted) {
		t.Errorf("what others keep was removed: %v", err)
	}
	c = sandboxCache{wanted: filepath.Join(file, "none")}
	dir := c.dir()
	if info, err := os.Stat(dir); err != nil || !info.IsDir() || info.Mode().Perm() != 0o700 || c.dir() != dir {
		t.Fatalf("it is kept in %q: %v", dir, err)
	}
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("a temporary directory stays")
	}
}
