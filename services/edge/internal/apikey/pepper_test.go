package apikey

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/config"
)

const (
	firstPepper  = config.Secret("the first pepper, of 32 characters and more")
	secondPepper = config.Secret("the second pepper, of 32 characters and more")
)

func TestHash(t *testing.T) {
	k, other := newKey(t), newKey(t)
	plain, first, second := Peppers{}, NewPeppers(false, firstPepper), NewPeppers(false, secondPepper)
	both, lenient := NewPeppers(false, secondPepper, firstPepper), NewPeppers(true, secondPepper)
	unnamed := func(h Hash) Hash { return Hash{Sum: h.Sum} }
	for name, ok := range map[string]bool{
		"no pepper":                          plain.Matches(k, plain.Hash(k)),
		"its own":                            first.Matches(k, first.Hash(k)),
		"the one before":                     both.Matches(k, first.Hash(k)),
		"one whose name was not kept":        both.Matches(k, unnamed(first.Hash(k))),
		"from before there was one":          lenient.Matches(k, plain.Hash(k)),
		"not another key":                    !plain.Matches(other, plain.Hash(k)),
		"not another pepper":                 !second.Matches(k, first.Hash(k)),
		"not another whose name is not kept": !second.Matches(k, unnamed(first.Hash(k))),
		"not without one":                    !both.Matches(k, plain.Hash(k)),
		"not nothing":                        !lenient.Matches(k, Hash{}),
		"not a prefix":                       !plain.Matches(k, Hash{Sum: plain.Hash(k).Sum[:10]}),
		"not under a name that is not its":   !lenient.Matches(k, Hash{Sum: plain.Hash(k).Sum, Pepper: lenient.current().check}),
		"the second is current":              both.stale(first.Hash(k)) && !both.stale(second.Hash(k)),
	} {
		if !ok {
			t.Error(name)
		}
	}
	if strings.Contains(first.Hash(k).Sum, k.Reveal()) || strings.Contains(first.current().check, "first") {
		t.Error("the hash holds the key, or the check value the pepper")
	}
}

func TestPeppersOfTwoEdges(t *testing.T) {
	dsn := sqliteDSN(t)
	one, two := filepath.Join(t.TempDir(), PepperFile), filepath.Join(t.TempDir(), PepperFile)
	open := func(cfg Config, path string) (Peppers, error) {
		return OpenPeppers(t.Context(), cfg, path, openSQL(t, dsn), rand.Reader, at(0))
	}
	cfg := DefaultConfig()
	p, err := open(cfg, one)
	if err != nil || len(p.all) != 1 {
		t.Fatalf("%v, %v", p, err)
	}
	info, err := os.Stat(one)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	if again, err := open(cfg, one); err != nil || again.current().check != p.current().check {
		t.Fatalf("the next start: %v", err)
	}
	if _, err := open(cfg, two); err == nil || !strings.Contains(err.Error(), p.current().check) || !strings.Contains(err.Error(), PepperFile) {
		t.Fatalf("another edge without it: %v", err)
	}
	if _, err := os.Stat(two); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal("it left a pepper behind")
	}
	cfg.Pepper = secondPepper
	if _, err := open(cfg, two); err == nil || strings.Contains(err.Error(), secondPepper.Reveal()) {
		t.Fatalf("another edge with another: %v", err)
	}
	data, err := os.ReadFile(one)
	if err != nil {
		t.Fatal(err)
	}
	// A rotation: the new one first, the old one still accepted.
	cfg.PreviousPeppers = []config.Secret{config.Secret(strings.TrimSpace(string(data)))}
	if both, err := open(cfg, two); err != nil || !both.Matches(newKeyHashedBy(t, p)) {
		t.Fatalf("a rotation: %v", err)
	}
	cfg.PreviousPeppers = nil
	if _, err := open(cfg, two); err != nil {
		t.Fatalf("after it: %v", err)
	}
	// A file may have several lines, too.
	third := strings.Repeat("3", minPepper)
	if err := os.WriteFile(two, append([]byte(third+"\n"), data...), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.Pepper = ""
	if lines, err := open(cfg, two); err != nil || len(lines.all) != 2 || lines.current().check != newPepper(third).check {
		t.Fatalf("two lines: %v", err)
	}
	for name, text := range map[string]string{"empty": "", "short": "short", "too large": strings.Repeat("x", maxPepperFile+1)} {
		if err := os.WriteFile(two, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := open(cfg, two); err == nil {
			t.Errorf("a file that is %s was accepted", name)
		}
	}
}

func newKeyHashedBy(t *testing.T, p Peppers) (Key, Hash) {
	t.Helper()
	k := newKey(t)
	return k, p.Hash(k)
}

func TestHashesAreMadeAnewOnUse(t *testing.T) {
	dsn := sqliteDSN(t)
	old := replica(t, dsn, nil)
	rec, text := old.create(t)
	next := replica(t, dsn, func(c *Config) { c.Pepper = firstPepper })
	next.expect(t, text, "")
	if err := next.WriteUsage(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := next.Get(t.Context(), rec.ID)
	if err != nil || got.Secret == rec.Secret || got.Secret.Pepper != newPepper(firstPepper.Reveal()).check || got.Revision != rec.Revision {
		t.Fatalf("%+v, %v", got, err)
	}
	next.expect(t, text, "")
	strict := replica(t, dsn, func(c *Config) { c.Pepper, c.AcceptUnpeppered = firstPepper, false })
	strict.expect(t, text, "")

	// Then a rotation of the pepper, which edges that do not know the new one yet
	// must survive.
	careful := replica(t, dsn, func(c *Config) {
		c.Pepper, c.PreviousPeppers, c.Rehash = secondPepper, []config.Secret{firstPepper}, false
	})
	careful.expect(t, text, "")
	if err := careful.WriteUsage(t.Context()); err != nil {
		t.Fatal(err)
	}
	replica(t, dsn, func(c *Config) { c.Pepper = firstPepper }).expect(t, text, "")
	rotated := replica(t, dsn, func(c *Config) { c.Pepper, c.PreviousPeppers = secondPepper, []config.Secret{firstPepper} })
	rotated.expect(t, text, "")
	if err := rotated.WriteUsage(t.Context()); err != nil {
		t.Fatal(err)
	}
	replica(t, dsn, func(c *Config) { c.Pepper = secondPepper }).expect(t, text, "")
	replica(t, dsn, func(c *Config) { c.Pepper = firstPepper }).expect(t, text, Unknown)
}
