package cli

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/poterne/poterne/services/edge/auditproof"
)

// trail is one that is kept in files.
type trail struct {
	t       *testing.T
	dir     string
	key     string
	signer  note.Signer
	chain   string
	records []auditproof.Record
	tree    auditproof.Tree
	head    auditproof.Hash
}

func newTrail(t *testing.T) *trail {
	t.Helper()
	private, public, err := note.GenerateKey(rand.Reader, auditproof.KeyName)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	return &trail{t: t, dir: t.TempDir(), key: public, signer: signer, chain: "c"}
}

func (f *trail) add(n int) {
	for range n {
		i := int64(len(f.records))
		r := auditproof.Record{ID: fmt.Sprint("id", i), Time: time.Unix(i, 0).UTC(), Tenant: "acme", Chain: f.chain, Sequence: i, Previous: f.head}
		r.Hash = r.Sum()
		f.records, f.head = append(f.records, r), r.Hash
		f.tree.Add(r.Hash)
	}
}

func (f *trail) checkpoint() string {
	f.t.Helper()
	c := auditproof.Checkpoint{Chain: f.chain, Tree: f.tree.Clone(), Head: f.head, Time: time.Unix(99, 0)}
	text, err := c.Sign(f.signer)
	if err != nil {
		f.t.Fatal(err)
	}
	return text
}

func (f *trail) file(name string, lines ...any) string {
	f.t.Helper()
	var out strings.Builder
	for _, l := range lines {
		if text, ok := l.(string); ok {
			out.WriteString(text)
			continue
		}
		raw, err := json.Marshal(l)
		if err != nil {
			f.t.Fatal(err)
		}
		out.Write(append(raw, '\n'))
	}
	path := filepath.Join(f.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(out.String()), 0o600); err != nil {
		f.t.Fatal(err)
	}
	return path
}

func lines(recs []auditproof.Record) (out []any) {
	for _, r := range recs {
		out = append(out, r)
	}
	return out
}

func TestVerifyIsStrict(t *testing.T) {
	f := newTrail(t)
	f.add(6)
	six := f.checkpoint()
	f.add(4)
	ten := f.checkpoint()
	fork := newTrail(t)
	fork.signer, fork.chain = f.signer, f.chain
	fork.head = auditproof.Hash{9}
	fork.add(6)

	whole := f.file("whole.jsonl", lines(f.records)...)
	short := f.file("short.jsonl", lines(f.records[:8])...)
	forked := f.file("forked.jsonl", lines(fork.records)...)
	signedSix := f.file("six.jsonl", append(lines(f.records), auditproof.Line{Checkpoint: six})...)
	kept := filepath.Dir(f.file("kept/one.jsonl", auditproof.Line{Checkpoint: six}))
	f.file("kept/two.checkpoint", ten)
	more, err := json.Marshal(f.records[0])
	if err != nil {
		t.Fatal(err)
	}
	with := func(name, old, replacement string) string {
		return f.file(name, strings.Replace(string(more), old, replacement, 1)+"\n")
	}
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"no key":                       {[]string{whole}, 0, "intact"},
		"a key, and nothing is signed": {[]string{"--key", f.key, whole}, 1, "nothing is proven"},
		"nothing signed, as it must":   {[]string{"--require-signed", whole}, 1, "nothing is proven"},
		"kept checkpoints":             {[]string{"--key", f.key, "--checkpoints", kept, whole}, 0, "intact"},
		"all signed":                   {[]string{"--key", f.key, "--checkpoints", kept, "--require-signed", whole}, 0, "intact"},
		"some signed":                  {[]string{"--key", f.key, signedSix}, 0, "intact"},
		"some signed, and all must be": {[]string{"--key", f.key, "--require-signed", signedSix}, 1, "4 of the 10 records"},
		"another's key":                {[]string{"--key", fork.key, "--checkpoints", kept, whole}, 1, "forged"},
		"cut off":                      {[]string{"--key", f.key, "--checkpoints", kept, short}, 1, "truncated"},
		"forked":                       {[]string{"--key", f.key, "--checkpoints", kept, forked}, 1, "changed"},
		"a member that is not one":     {[]string{with("member.jsonl", `"tenant"`, `"note":"x","tenant"`)}, 1, `unknown field "note"`},
		"a member in other letters":    {[]string{with("letters.jsonl", `"tenant"`, `"Tenant"`)}, 1, "no trail writes"},
		"a member that is there twice": {[]string{with("twice.jsonl", `"tenant"`, `"tenant":"x","tenant"`)}, 1, "more than one way"},
		"no such file":                 {[]string{filepath.Join(f.dir, "none")}, 2, "none: no such file"},
		"no such checkpoints":          {[]string{"--checkpoints", filepath.Join(f.dir, "none"), whole}, 2, "none: no such file"},
		"a chain of a file":            {[]string{"--chain", "c", whole}, 2, "--chain"},
		"signed by the gateway":        {[]string{"--require-signed"}, 2, "files"},
	} {
		code, out, errs := run(t, http.NotFoundHandler(), "", append([]string{"audit", "verify"}, c.args...)...)
		if code != c.code || !strings.Contains(out+errs, c.want) || strings.Count(errs, "none") > 1 {
			t.Errorf("%s: code %d, want %d and %q\n%s%s", name, code, c.code, c.want, out, errs)
		}
	}
}

func TestVerifyOfASelection(t *testing.T) {
	f := newTrail(t)
	f.add(7)
	leaves := auditproof.NewLeaves(auditproof.Tree{})
	for _, r := range f.records {
		leaves.Add(r.Hash)
	}
	proven := func(i int64) auditproof.Line {
		hashes, err := leaves.Inclusion(i)
		if err != nil {
			t.Fatal(err)
		}
		return auditproof.Line{Record: &f.records[i], Proof: auditproof.Inclusion{Index: i, Hashes: hashes, Checkpoint: f.checkpoint()}.Text()}
	}
	good := f.file("good.jsonl", proven(2), proven(5), f.records[6])
	other := proven(3)
	other.Proof = proven(4).Proof
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"some records":            {[]string{"--key", f.key, good}, 0, "3 records, 1 of them without a proof"},
		"every one must have one": {[]string{"--key", f.key, "--require-signed", good}, 1, "1 of the 3 records have no proof"},
		"another one's proof":     {[]string{"--key", f.key, f.file("other.jsonl", other)}, 1, "another record"},
		"another's key":           {[]string{"--key", newTrail(t).key, good}, 1, "no known key"},
	} {
		code, out, errs := run(t, http.NotFoundHandler(), "", append([]string{"audit", "verify"}, c.args...)...)
		if code != c.code || !strings.Contains(out+errs, c.want) {
			t.Errorf("%s: code %d, want %d and %q\n%s%s", name, code, c.code, c.want, out, errs)
		}
	}
}
