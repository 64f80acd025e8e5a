package respcache_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/clock"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/respcache"
)

// tape gives what a fuzzer wrote, piece by piece, and nothing at its end.
type tape []byte

func (f *tape) n() int {
	if len(*f) == 0 {
		return 0
	}
	n := int((*f)[0])
	*f = (*f)[1:]
	return n
}

func (f *tape) text() string {
	n := min(f.n()%24, len(*f))
	s := strings.ToValidUTF8(string((*f)[:n]), "")
	*f = (*f)[n:]
	return s
}

// scope fills every field of a scope.
func (f *tape) scope() (s respcache.Scope) {
	for _, v := range reflect.ValueOf(&s).Elem().Fields() {
		switch v.Kind() {
		case reflect.Bool:
			v.SetBool(f.n()%2 == 1)
		case reflect.Slice:
			for range f.n() % 4 {
				v.Set(reflect.Append(v, reflect.ValueOf(f.text())))
			}
		default:
			v.SetString(f.text())
		}
	}
	return s
}

func (f *tape) request() *edgev1.CreateEmbeddingRequest {
	out := &edgev1.CreateEmbeddingRequest{InputType: f.text()}
	for range f.n() % 3 {
		if out.Extra == nil {
			out.Extra = make(map[string]string)
		}
		out.Extra[f.text()] = strconv.Quote(f.text())
	}
	return out
}

func (f *tape) parts() (out [][]byte) {
	for range 1 + f.n()%3 {
		out = append(out, []byte(f.text()))
	}
	return out
}

// same reports whether two scopes say the same: the order of principals says nothing.
func same(a, b respcache.Scope) bool {
	for _, s := range []*respcache.Scope{&a, &b} {
		s.Principals = slices.Sorted(slices.Values(s.Principals))
		s.Variants = append([]string(nil), s.Variants...)
	}
	return reflect.DeepEqual(a, b)
}

// FuzzKeys holds that two requests have one key exactly when they, their scopes and
// the part are the same: whatever stands in a field, lengths and delimiters included,
// it does not become a part of another.
func FuzzKeys(f *testing.F) {
	f.Add([]byte("\x02ab\x00"), []byte("\x01a\x01b"), []byte{})
	f.Add([]byte("\x00\x09\x00\x00\x00\x00\x00\x00\x00\x01a"), []byte("\x01a"), []byte("\x01\x00\x01"))
	f.Add([]byte(""), []byte(""), []byte("\x00"))
	long := binary.BigEndian.AppendUint64([]byte{16}, 1)
	f.Add(append(long, 'a'), append([]byte{8}, long[1:]...), []byte("x"))
	f.Fuzz(func(t *testing.T, one, two, three []byte) {
		a, b, c := tape(one), tape(two), tape(three)
		// One of three is what both have: pairs that differ in one place are met often.
		scopes := [2]respcache.Scope{a.scope(), b.scope()}
		if shared := c.n(); shared%2 == 1 {
			scopes[1] = scopes[0]
			if field := reflect.ValueOf(&scopes[1]).Elem().Field(shared % reflect.TypeFor[respcache.Scope]().NumField()); field.Kind() == reflect.String {
				field.SetString(c.text())
			}
		}
		requests := [2]*edgev1.CreateEmbeddingRequest{a.request(), b.request()}
		parts := [2][][]byte{a.parts(), b.parts()}
		var keys [2][]respcache.Key
		for i := range keys {
			var err error
			if keys[i], err = respcache.KeysOfParts(&scopes[i], requests[i], parts[i]); err != nil {
				t.Fatal(err)
			}
			whole, err := respcache.KeyOf(&scopes[i], requests[i])
			if err != nil {
				t.Fatal(err)
			}
			if slices.Contains(keys[i], whole) {
				t.Errorf("a part has the key of the whole: %+v", scopes[i])
			}
		}
		alike := same(scopes[0], scopes[1]) && proto.Equal(requests[0], requests[1])
		for i, k := range keys[0] {
			for j, l := range keys[1] {
				if want := alike && bytes.Equal(parts[0][i], parts[1][j]); (k == l) != want {
					t.Errorf("one key %t:\n%+v %v %q\n%+v %v %q", k == l, scopes[0], requests[0], parts[0][i], scopes[1], requests[1], parts[1][j])
				}
			}
		}
	})
}

// TestTenantsAgainstAModel has two edges on one store do what tenants ask in any order,
// beside a model that is a plain map: what is given is what was kept for this very
// tenant, question and state of purges, and never what another one put.
func TestTenantsAgainstAModel(t *testing.T) {
	for seed := range uint64(5) {
		rng := rand.New(rand.NewPCG(seed, 1))
		clk := clock.NewFake(time.Unix(1_900_000_000, 0))
		shared := newStore()
		edges := [2]*respcache.Cache{cache(t, clk, shared, nil), cache(t, clk, shared, nil)}
		purged := make(map[string]int)
		type asked struct{ tenant, question, purged string }
		model := make(map[asked]string)
		hits, similar := 0, 0
		pick := func(of ...string) string { return of[rng.IntN(len(of))] }
		for step := range 400 {
			tenant, question := pick("a", "a\x00", "ab", ""), pick("", "b", "\x00b", "q")
			is := asked{tenant, question, strconv.Itoa(purged[tenant])}
			req := &edgev1.CreateChatCompletionRequest{User: question}
			scope := respcache.Scope{Tenant: tenant, Purged: is.purged}
			edge := edges[rng.IntN(2)]
			a := ask(t, edge, "", "", "", "")
			a.Key = key(t, scope, req)
			group := key(t, respcache.Scope{Tenant: tenant, Purged: is.purged, Operation: "similar"}, new(edgev1.CreateChatCompletionRequest))
			switch rng.IntN(5) {
			case 0:
				text := tenant + "|" + question + "|" + strconv.Itoa(step)
				model[is] = text
				edge.Keep(a, entry(text))
				edge.Remember(group, []float32{1, float32(len(question))}, a.Key)
				shared.settled(t, edge, a)
			case 1:
				purged[tenant]++
			case 2: // everybody's questions have one vector
				k, _, ok := edge.Nearest(group, []float32{1, 1}, 0.1)
				if !ok {
					continue
				}
				similar++
				a.Key = k
				if e, state := edge.Find(t.Context(), a); state == respcache.Hit && !strings.HasPrefix(string(e.Chunks[0]), tenant+"|") {
					t.Fatalf("%q was given %q", tenant, e.Chunks[0])
				}
			default:
				e, state := edge.Find(t.Context(), a)
				want, known := model[is]
				if (state == respcache.Hit) != known {
					t.Fatalf("%q: %s, known %t", is, state, known)
				}
				if !known {
					continue
				}
				hits++
				// Another edge may have made a newer one; it is of the same scope.
				if got := string(e.Chunks[0]); got != want && !strings.HasPrefix(got, tenant+"|"+question+"|") {
					t.Fatalf("%q was given %q, not %q", is, got, want)
				}
			}
		}
		if hits == 0 || similar == 0 {
			t.Errorf("seed %d: %d hits, %d similar: the model saw nothing", seed, hits, similar)
		}
	}
}

// settled waits until what was kept is in the store.
func (s *store) settled(t *testing.T, c *respcache.Cache, a *respcache.Ask) {
	t.Helper()
	other := cache(t, clock.NewFake(c.Clock.Now()), s, nil)
	for range 5000 {
		if _, state := other.Find(t.Context(), a); state == respcache.Hit {
			return
		}
		<-time.After(100 * time.Microsecond)
	}
	t.Fatal("nothing was written")
}
