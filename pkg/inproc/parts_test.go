package inproc

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"testing"

	"google.golang.org/grpc/metadata"
)

// What is seen of a header key by key is what it is as a map, each key once.
func TestHeadersAreSeenAsTheyAre(t *testing.T) {
	chance := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var p parts
		for range chance.IntN(4) {
			key := func() string { return []string{"k", "K", "x-"}[chance.IntN(3)] + strconv.Itoa(chance.IntN(24)) }
			if chance.IntN(2) == 0 {
				p = append(p, part{key: "k" + strconv.Itoa(chance.IntN(24)), value: "pair"})
				continue
			}
			md := metadata.MD{}
			for range chance.IntN(12) {
				md[key()] = slices.Grow([]string{"1", "2"}[:1+chance.IntN(2)], 8)
			}
			p = append(p, part{md: md})
		}
		seen := metadata.MD{}
		p.each(func(key string, values []string) {
			if seen[key] != nil {
				t.Errorf("%s is seen again", key)
			}
			seen[key] = values
		})
		want := p.joined()
		for _, md := range []metadata.MD{seen, want} {
			for _, values := range md {
				slices.Sort(values) // of a key in two cases either comes first
			}
		}
		if len(seen)+len(want) > 0 && !reflect.DeepEqual(seen, want) {
			t.Fatalf("%v, want %v", seen, want)
		}
	}
}

// Who adds to what was seen gets a copy.
func TestHeadersThatAreSeenAreNotTouched(t *testing.T) {
	common := []string{"1", "2"}
	parts{{md: metadata.MD{"a": common[:1]}}, {key: "b", value: "3"}}.each(func(_ string, values []string) { _ = append(values, "more") })
	if common[1] != "2" {
		t.Error("it was changed")
	}
}

func BenchmarkHeader(b *testing.B) {
	md := func(keys ...string) part {
		out := metadata.MD{}
		for _, k := range keys {
			out[k] = []string{"v"}
		}
		return part{md: out}
	}
	p := parts{md("a-limit", "a-remaining", "a-reset", "policy", "another"), md("model", "cache", "variant"), md("cost"), {key: "id", value: "x"}}
	b.Run("joined", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			for range p.joined() {
			}
		}
	})
	b.Run("each", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			p.each(func(string, []string) {})
		}
	})
}
