package grant

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func known() Actions {
	return Actions{"model": {"chat", "list"}, "collection": {"list", "search"}}
}

func parse(t *testing.T, scopes, models, collections, networks string) Grant {
	t.Helper()
	g, err := Parse(known(), strings.Fields(scopes), strings.Fields(models), strings.Fields(collections), strings.Fields(networks))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestGrant(t *testing.T) {
	g := parse(t, "model:chat collection:*", "tiny qwen*", "*", "192.0.2.0/24 2001:db8::/32 ::ffff:198.51.100.7")
	for _, c := range []struct {
		what string
		got  bool
		want bool
	}{
		{"model:chat", g.Action("model", "chat"), true},
		{"model:list", g.Action("model", "list"), false},
		{"collection:search", g.Action("collection", "search"), true},
		{"tiny", g.Model("tiny"), true},
		{"tinyer", g.Model("tinyer"), false},
		{"qwen", g.Model("qwen"), true},
		{"qwen-7b", g.Model("qwen-7b"), true},
		{"Qwen-7b", g.Model("Qwen-7b"), false},
		{"no model", g.Model(""), false},
		{"any collection", g.Collection("kb"), true},
		{"within", g.Address(netip.MustParseAddr("192.0.2.9")), true},
		{"beside", g.Address(netip.MustParseAddr("192.0.3.9")), false},
		{"v6", g.Address(netip.MustParseAddr("2001:db8:1::1")), true},
		{"mapped", g.Address(netip.MustParseAddr("198.51.100.7")), true},
		{"not known", g.Address(netip.Addr{}), false},
		{"everything", Grant{}.Action("x", "y") && Grant{}.Model("m") && Grant{}.Address(netip.Addr{}), true},
	} {
		if c.got != c.want {
			t.Errorf("%s: %v", c.what, c.got)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	many := make([]string, MaxEntries+1)
	for i := range many {
		many[i] = "10.0.0.0/8"
	}
	for field, lists := range map[string][4][]string{
		"scopes[1]":      {{"model:chat", "model"}},
		"scopes[0]":      {{"modell:chat"}},
		"scopes[2]":      {{"*:*", "*:list", "*:chatt"}},
		"models[0]":      {nil, {""}},
		"models[1]":      {nil, {"a", "a*b"}},
		"collections[0]": {nil, nil, {"kb@v3"}},
		"networks[0]":    {nil, nil, nil, {"10.0.0.1/8"}},
		"networks[1]":    {nil, nil, nil, {"10.0.0.0/8", "fe80::1%eth0"}},
		"networks":       {nil, nil, nil, many},
	} {
		_, err := Parse(known(), lists[0], lists[1], lists[2], lists[3])
		var e *EntryError
		if !errors.As(err, &e) || e.Field() != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// Whatever two grants say, both together grant what each does, and what is not
// beyond another grants nothing that this does not.
func TestCompare(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	pick := func(from ...string) (out []string) {
		for range r.IntN(3) {
			out = append(out, from[r.IntN(len(from))])
		}
		return out
	}
	grant := func() Grant {
		g, err := Parse(known(), pick("model:chat", "model:*", "*:list", "*:*", "collection:search"), pick("a", "a*", "ab*", "abc", "*", "b"),
			pick("k", "k*", "l"), pick("10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "2001:db8::/32", "0.0.0.0/0"))
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	within := 0
	for range 20_000 {
		a, b := grant(), grant()
		if r.IntN(4) == 0 {
			a = a.Intersect(grant()) // and so may have lists that match nothing
		}
		both, narrower := a.Intersect(b), a.Beyond(b) == ""
		if both.Beyond(a) != "" || both.Beyond(b) != "" {
			t.Fatalf("%+v and %+v together are %+v, beyond one of them", a, b, both)
		}
		if narrower {
			within++
		}
		for _, ask := range []func(Grant) bool{
			func(g Grant) bool { return g.Action("model", "chat") }, func(g Grant) bool { return g.Action("model", "list") },
			func(g Grant) bool { return g.Action("collection", "search") }, func(g Grant) bool { return g.Action("collection", "list") },
			func(g Grant) bool { return g.Model("a") }, func(g Grant) bool { return g.Model("ab") }, func(g Grant) bool { return g.Model("abc") },
			func(g Grant) bool { return g.Model("b") }, func(g Grant) bool { return g.Model("") },
			func(g Grant) bool { return g.Collection("k") }, func(g Grant) bool { return g.Collection("kk") },
			func(g Grant) bool { return g.Address(netip.MustParseAddr("10.1.2.3")) },
			func(g Grant) bool { return g.Address(netip.MustParseAddr("10.9.9.9")) },
			func(g Grant) bool { return g.Address(netip.MustParseAddr("2001:db8::1")) },
		} {
			if ask(both) != (ask(a) && ask(b)) {
				t.Fatalf("%+v and %+v together are %+v", a, b, both)
			}
			if narrower && ask(a) && !ask(b) {
				t.Fatalf("%+v is said to be within %+v", a, b)
			}
		}
	}
	if within < 500 {
		t.Errorf("only %d pairs were within each other", within)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("model:chat", "a*", "10.0.0.0/8")
	f.Fuzz(func(t *testing.T, scope, model, net string) {
		g, err := Parse(known(), []string{scope}, []string{model}, []string{model}, []string{net})
		if err != nil {
			return
		}
		if !slices.Equal(g.Models, []string{model}) || !g.Model(strings.TrimSuffix(model, "*")) && model != "*" || g.Beyond(g) != "" {
			t.Fatalf("%+v", g)
		}
	})
}
