package store

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
)

// countsAreTheReaders compares counts with lists that are counted by hand, while
// documents are given to others, removed and end.
func countsAreTheReaders(f fixture) {
	t, s := f.t, f.s
	rng := rand.New(rand.NewPCG(7, 7))
	everyone := []string{"user:a", "user:b", "group:g", "tenant:acme", "public"}
	some := func() (out []string) {
		for _, p := range everyone {
			if rng.IntN(3) == 0 {
				out = append(out, p)
			}
		}
		return out
	}
	collections := []Collection{newCollection(t, s, "c"), newCollection(t, s, "other"), newCollection(t, s, "empty")}
	type kept struct {
		principals []string
		chunks     int
		until      time.Time
	}
	truth := make(map[string]map[string]kept)
	for range 40 {
		c := collections[rng.IntN(2)]
		if truth[c.UID] == nil {
			truth[c.UID] = make(map[string]kept)
		}
		v := version(fmt.Sprint("d", rng.IntN(12)), "x", append(some(), "user:nobody")...)
		for n := 1; n <= rng.IntN(3); n++ {
			v.Chunks = append(v.Chunks, Chunk{Number: n, Vector: []float32{1, 2}})
		}
		if rng.IntN(3) == 0 {
			v = ending(s, v, time.Duration(1+rng.IntN(20))*time.Second)
		}
		upsert(t, s, c, v)
		truth[c.UID][v.ID] = kept{v.Principals, len(v.Chunks), v.ExpireTime}
		pass(t, s, time.Second)
		who := some()
		want, got := make(map[string]ReadableCounts), make(map[string]ReadableCounts)
		for uid, docs := range truth {
			var n ReadableCounts
			for _, d := range docs {
				ended := !d.until.IsZero() && !d.until.After(s.clock.Now())
				if ended || !slices.ContainsFunc(d.principals, func(p string) bool { return slices.Contains(who, p) }) {
					continue
				}
				n.Documents, n.Chunks = n.Documents+1, n.Chunks+d.chunks
				if !d.until.IsZero() && (n.Until.IsZero() || d.until.Before(n.Until)) {
					n.Until = d.until.UTC()
				}
			}
			if n.Documents > 0 {
				want[uid] = n
			}
		}
		for _, c := range collections {
			n, err := s.CountReadable(t.Context(), c, who)
			check(t, err)
			if n.Documents > 0 {
				got[c.UID] = n
			}
		}
		if !maps.Equal(got, want) {
			t.Fatalf("%v may read %v, want %v", who, got, want)
		}
	}
}

// deletionNeedsEveryDocument tries to remove a collection of which not all is the
// caller's.
func deletionNeedsEveryDocument(f fixture) {
	t, s := f.t, f.s
	me := Rights{Principals: []string{"user:me", "tenant:acme"}}
	newCollection(t, s, "empty")
	for name, docs := range map[string][]Version{
		"theirs": {version("open", "x"), version("secret", "y", "user:them")},
		"other":  {version("a", "y", "user:them"), version("b", "y", "user:them"), version("c", "y", "group:them")},
		"mine":   {version("open", "x"), version("own", "y", "user:me")},
		"ended":  {version("open", "x"), ending(s, version("was", "y", "user:them"), time.Second)},
	} {
		upsert(t, s, newCollection(t, s, name), docs...)
	}
	pass(t, s, time.Second)
	var told []string
	for name, want := range map[string]bool{"empty": true, "theirs": false, "other": false, "mine": true, "ended": true} {
		before, err := s.Collection(t.Context(), "acme", name)
		check(t, err)
		_, err = s.DeleteCollection(t.Context(), "acme", name, me)
		if want {
			check(t, err)
			continue
		}
		if e := apierr.From(err); e.Reason != apierr.PermissionDenied || e.Field != "collection" {
			t.Errorf("%s: %v", name, err)
		}
		told = append(told, err.Error())
		if after, err := s.Collection(t.Context(), "acme", name); err != nil || after.Generation != before.Generation || after.DocumentCount != before.DocumentCount {
			t.Errorf("%s: it was %+v and is %+v, %v", name, before, after, err)
		}
	}
	if len(told) != 2 || told[0] != told[1] || strings.Contains(told[0], "secret") {
		t.Errorf("the refusals tell apart what is there: %q", told)
	}
	if _, err := s.DeleteCollection(t.Context(), "globex", "theirs", Rights{All: true}); apierr.ReasonOf(err) != apierr.NotFound {
		t.Errorf("another tenant's administrator: %v", err)
	}
	if _, err := s.DeleteCollection(t.Context(), "acme", "theirs", Rights{All: true}); err != nil {
		t.Error(err)
	}
}

func BenchmarkCountReadable(b *testing.B) {
	const documents = 100_000
	s := open(b, "sqlite://"+b.TempDir()+"/truth.db")
	c := newCollection(b, s, "c")
	for first := 0; first < documents; first += 1000 {
		var vs []Version
		for i := first; i < first+1000; i++ {
			vs = append(vs, version(fmt.Sprint("d", i), "x", fmt.Sprint("group:", i%10), fmt.Sprint("user:", i%1000)))
		}
		upsert(b, s, c, vs...)
	}
	for name, who := range map[string][]string{
		"a thousandth": {"user:7"}, "a tenth": {"group:1", "user:1"},
		"all": {"group:0", "group:1", "group:2", "group:3", "group:4", "group:5", "group:6", "group:7", "group:8", "group:9"},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := s.CountReadable(b.Context(), c, who); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
