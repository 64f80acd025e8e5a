package reference_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/poterne/poterne/services/inference/internal/reference"
)

func TestParse(t *testing.T) {
	t.Parallel()
	digest := "sha256:" + strings.Repeat("0a", 32)
	for in, want := range map[string]reference.Ref{
		"smollm2":            {Name: "smollm2"},
		"0.a_b-c":            {Name: "0.a_b-c"},
		"m@production":       {Name: "m", Kind: reference.Alias, Alias: "production"},
		"m@v":                {Name: "m", Kind: reference.Alias, Alias: "v"},
		"m@v3x":              {Name: "m", Kind: reference.Alias, Alias: "v3x"},
		"m@v3":               {Name: "m", Kind: reference.Number, Number: 3},
		"m@v999999999":       {Name: "m", Kind: reference.Number, Number: 999999999},
		"m@" + digest:        {Name: "m", Kind: reference.Digest, Digest: digest},
		"m@sha256":           {Name: "m", Kind: reference.Alias, Alias: "sha256"},
		"a@" + fill(63):      {Name: "a", Kind: reference.Alias, Alias: fill(63)},
		fill(128):            {Name: fill(128)},
		"gpt-4o.mini_2024-1": {Name: "gpt-4o.mini_2024-1"},
	} {
		got, err := reference.Parse(in)
		if err != nil || got != want {
			t.Errorf("Parse(%q) = %+v, %v; want %+v", in, got, err, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		"", "@", "@v3", "m@", "M", "a b", "-a", ".a", "a/b", "é", "m@V3", "m@v0", "m@v01", "m@v1234567890",
		"m@sha256:", "m@sha256:ABC", "m@sha256:" + strings.Repeat("0A", 32), "m@a@b", "m@9a", "m@-", "m\x00",
		fill(129), "a@" + fill(64), "m@sha256:" + strings.Repeat("a", 65),
	} {
		if got, err := reference.Parse(in); err == nil {
			t.Errorf("Parse(%q) = %+v; want an error", in, got)
		}
	}
}

func fill(n int) string { return strings.Repeat("a", n) }

// FuzzParse holds the hand-written parser against the grammar as a regular
// expression, and checks that what was read is written as it came.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"m", "m@v3", "m@production", "m@sha256:" + strings.Repeat("0", 64), "m@v0", "@", "m@@"} {
		f.Add(s)
	}
	grammar := regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,127}(@(v[1-9][0-9]{0,8}|sha256:[0-9a-f]{64}|[a-z][a-z0-9._-]{0,62}))?$`)
	zeroOrLong := regexp.MustCompile(`@v(0[0-9]*|[0-9]{10,})$`)
	f.Fuzz(func(t *testing.T, s string) {
		ref, err := reference.Parse(s)
		want := grammar.MatchString(s) && !strings.HasSuffix(s, "\n") && !zeroOrLong.MatchString(s)
		if (err == nil) != want {
			t.Fatalf("Parse(%q): %v; the grammar says %t", s, err, want)
		}
		if err == nil && ref.String() != s {
			t.Fatalf("Parse(%q).String() = %q", s, ref.String())
		}
	})
}
