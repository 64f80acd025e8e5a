package apikey

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/poterne/poterne/services/edge/internal/grant"
)

func nothing(Record) error { return nil }

func TestRotation(t *testing.T) {
	dsn := sqliteDSN(t)
	one, two := replica(t, dsn, nil), replica(t, dsn, nil)
	rec, first := one.create(t)
	two.expect(t, first, "")
	rotate := func(overlap time.Duration) string {
		r, key, err := one.Rotate(t.Context(), rec.ID, overlap, nothing)
		if err != nil || key.ID != rec.ID || r.Subject != rec.Subject || !r.PreviousExpireTime.Equal(one.clock.Now().Add(overlap).Truncate(time.Microsecond)) {
			t.Fatalf("%+v, %v", r, err)
		}
		if err := two.Follow(t.Context()); err != nil {
			t.Fatal(err)
		}
		return key.Reveal()
	}
	second := rotate(time.Minute)
	for _, b := range []bench{one, two} {
		b.expect(t, first, "")
		b.expect(t, second, "")
		b.clock.Advance(time.Minute)
		b.expect(t, first, Rotated)
		b.expect(t, second, "")
	}
	third := rotate(time.Minute)
	fourth := rotate(time.Minute) // no more than two at a time
	one.expect(t, second, Unknown)
	one.expect(t, third, "")
	one.expect(t, fourth, "")
	fifth := rotate(0)
	for _, b := range []bench{one, two} {
		b.expect(t, fourth, Rotated)
		b.expect(t, fifth, "")
	}
	if _, err := one.Revoke(t.Context(), rec.ID); err != nil {
		t.Fatal(err)
	}
	one.expect(t, fourth, Revoked)
	one.expect(t, fifth, Revoked)
	if _, _, err := one.Rotate(t.Context(), rec.ID, 0, nothing); !errors.Is(err, ErrEnded) {
		t.Fatalf("a revoked key: %v", err)
	}
	no := errors.New("no")
	other, text := one.create(t)
	if _, _, err := one.Rotate(t.Context(), other.ID, 0, func(Record) error { return no }); !errors.Is(err, no) {
		t.Fatal(err)
	}
	one.expect(t, text, "")
}

func TestKeysFollowTheirAccount(t *testing.T) {
	dsn := sqliteDSN(t)
	one, two := replica(t, dsn, nil), replica(t, dsn, nil)
	id := AccountID{"acme", "ci"}
	if _, err := one.CreateAccount(t.Context(), Account{Tenant: "acme", ID: "ci", Roles: []string{"reader"}, Grant: grant.Grant{Models: []string{"a*"}}}); err != nil {
		t.Fatal(err)
	}
	_, key, err := one.Create(t.Context(), Wanted{Tenant: "acme", ServiceAccount: "ci", Grant: grant.Grant{Models: []string{"ab", "c"}}})
	if err != nil {
		t.Fatal(err)
	}
	text := key.Reveal()
	access := func(b bench) Access {
		t.Helper()
		if err := b.Follow(t.Context()); err != nil {
			t.Fatal(err)
		}
		v, err := b.Verify(t.Context(), text)
		if err != nil {
			t.Fatal(err)
		}
		if v.Subject != "service-account.ci" {
			t.Errorf("the subject is %q", v.Subject)
		}
		if byID, err := b.State(t.Context(), key.ID); err != nil || byID.Access.Roles[0] != v.Access.Roles[0] {
			t.Errorf("by its id: %+v, %v", byID, err)
		}
		return *v.Access
	}
	change := func(edit func(a *Account)) {
		t.Helper()
		if _, err := one.UpdateAccount(t.Context(), id, func(a *Account) error { edit(a); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range []bench{one, two} {
		if a := access(b); !slices.Equal(a.Grant.Models, []string{"ab"}) || !slices.Equal(a.Roles, []string{"reader"}) {
			t.Fatalf("%+v", a)
		}
	}
	change(func(a *Account) { a.Roles, a.Grant.Models = []string{"developer"}, []string{"z"} })
	for _, b := range []bench{one, two} {
		if a := access(b); !slices.Equal(a.Roles, []string{"developer"}) || a.Grant.Model("ab") || a.Grant.Model("z") || a.Grant.Model("") {
			t.Fatalf("%+v", a)
		}
	}
	change(func(a *Account) { a.Disabled = true })
	one.expect(t, text, Disabled)
	if err := two.Follow(t.Context()); err != nil {
		t.Fatal(err)
	}
	two.expect(t, text, Disabled)
	if _, err := two.State(t.Context(), key.ID); err == nil {
		t.Error("by its id the key of a disabled account holds")
	}
	change(func(a *Account) { a.Disabled = false })
	access(two)
	if err := one.DeleteAccount(t.Context(), id, true); err != nil {
		t.Fatal(err)
	}
	one.expect(t, text, Revoked)
	if err := two.Follow(t.Context()); err != nil {
		t.Fatal(err)
	}
	two.expect(t, text, Revoked)
}

func TestLastUse(t *testing.T) {
	b := replica(t, sqliteDSN(t), nil)
	rec, text := b.create(t)
	for range 100 {
		b.expect(t, text, "")
	}
	if n := b.store.writes.Load(); n != 0 {
		t.Fatalf("%d writes on the way of requests", n)
	}
	used := func(want time.Time) {
		t.Helper()
		if r, err := b.Get(t.Context(), rec.ID); err != nil || !r.LastUseTime.Equal(want) {
			t.Fatalf("last used %v, %v; want %v", r.LastUseTime, err, want)
		}
	}
	b.store.away.Store(true)
	if err := b.WriteUsage(t.Context()); err == nil {
		t.Fatal("nobody noticed that the store is away")
	}
	b.store.away.Store(false)
	if err := b.WriteUsage(t.Context()); err != nil {
		t.Fatal(err)
	}
	used(at(0).Truncate(time.Minute))
	if err := b.WriteUsage(t.Context()); err != nil || b.store.writes.Load() != 2 {
		t.Fatalf("%d writes, %v", b.store.writes.Load(), err)
	}
	b.clock.Advance(90 * time.Second)
	if err := b.Follow(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.expect(t, text[:len(text)-1], Malformed)
	b.expect(t, text, "")
	for _, c := range b.Components() { // what waits is written at the end
		if c.Stop != nil {
			if err := c.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	used(at(90).Truncate(time.Minute))
}

func TestCheck(t *testing.T) {
	b := replica(t, sqliteDSN(t), nil)
	rec, first := b.create(t)
	_, key, err := b.Rotate(t.Context(), rec.ID, 0, nothing)
	if err != nil {
		t.Fatal(err)
	}
	stranger := newKey(t)
	other, err := regenerate(b.random, rec.ID)
	if err != nil {
		t.Fatal(err)
	}
	leaks, err := b.Check(t.Context(), []string{"", "sk-x", first, key.Reveal(), stranger.Reveal(), other.Reveal(), first})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range leaks {
		got = append(got, fmt.Sprint(l.WellFormed, l.Found, l.Record.ID == rec.ID))
	}
	want := []string{
		"false false false", "false false false", "true true true", "true true true",
		"true false false", "true false false", "true true true",
	}
	if !slices.Equal(got, want) {
		t.Fatalf("%v", got)
	}
}

// Whatever is done, a key does what a plain model of it says, at both of two
// replicas, each after its next poll.
func TestNoSequenceGivesMore(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { sequence(t, rand.New(rand.NewPCG(seed, 0))) })
	}
}

// modelled is what a key should be.
type modelled struct {
	id       string
	texts    map[string]time.Time // until when each secret holds; the zero time: no end
	current  string
	models   []string
	account  bool
	revoked  bool
	expireAt time.Time
}

func sequence(t *testing.T, r *rand.Rand) {
	t.Helper()
	dsn := sqliteDSN(t)
	bs := []bench{replica(t, dsn, nil), replica(t, dsn, nil)}
	id, disabled, bound := AccountID{"acme", "ci"}, false, []string{"a", "b"}
	if _, err := bs[0].CreateAccount(t.Context(), Account{Tenant: "acme", ID: "ci", Roles: []string{"reader"}, Grant: grant.Grant{Models: bound}}); err != nil {
		t.Fatal(err)
	}
	lists := [][]string{nil, {"a"}, {"b"}, {"a", "b"}, {"c"}}
	var keys []*modelled
	for step := range 40 {
		b := bs[r.IntN(2)]
		now := b.clock.Now()
		var k *modelled
		if len(keys) > 0 {
			k = keys[r.IntN(len(keys))]
		}
		switch op := r.IntN(9); {
		case op <= 1 || k == nil:
			k = &modelled{models: lists[r.IntN(len(lists))], account: r.IntN(2) == 0, texts: make(map[string]time.Time)}
			w := Wanted{Tenant: "acme", Roles: []string{"reader"}, Grant: grant.Grant{Models: k.models}}
			if k.account {
				w.ServiceAccount = "ci"
			}
			rec, key, err := b.Create(t.Context(), w)
			if err != nil {
				t.Fatal(err)
			}
			k.id, k.current = rec.ID, key.Reveal()
			k.texts[k.current] = time.Time{}
			keys = append(keys, k)
		case op == 2:
			list := lists[r.IntN(len(lists))]
			end := time.Time{}
			if r.IntN(2) == 0 {
				end = now.Add(time.Duration(r.IntN(40)) * time.Second).Truncate(time.Microsecond)
			}
			_, err := b.Update(t.Context(), k.id, func(rec *Record) error { rec.Grant.Models, rec.ExpireTime = list, end; return nil })
			if k.revoked != errors.Is(err, ErrEnded) {
				t.Fatal(err)
			}
			if err == nil {
				k.models, k.expireAt = list, end
			}
		case op == 3:
			overlap := time.Duration(r.IntN(3)) * 10 * time.Second
			_, key, err := b.Rotate(t.Context(), k.id, overlap, nothing)
			if k.revoked != errors.Is(err, ErrEnded) {
				t.Fatal(err)
			}
			if err == nil {
				before := k.current
				for text := range k.texts {
					k.texts[text] = now.Add(-time.Hour)
				}
				k.texts[before], k.current = now.Add(overlap), key.Reveal()
				k.texts[k.current] = time.Time{}
			}
		case op == 4 && r.IntN(2) == 0:
			if _, err := b.Revoke(t.Context(), k.id); err != nil {
				t.Fatal(err)
			}
			k.revoked = true
		case op == 5:
			disabled, bound = r.IntN(2) == 0, lists[r.IntN(len(lists))]
			_, err := b.UpdateAccount(t.Context(), id, func(a *Account) error { a.Disabled, a.Grant.Models = disabled, bound; return nil })
			if err != nil {
				t.Fatal(err)
			}
		default:
			d := time.Duration(r.IntN(15)) * time.Second
			bs[0].clock.Advance(d)
			bs[1].clock.Advance(d)
		}
		for _, b := range bs {
			if err := b.Follow(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, k := range keys {
				k.compare(t, b, step, disabled, bound)
			}
		}
	}
}

func (k *modelled) compare(t *testing.T, b bench, step int, disabled bool, bound []string) {
	t.Helper()
	now := b.clock.Now()
	holds := !k.revoked && (k.expireAt.IsZero() || now.Before(k.expireAt)) && (!k.account || !disabled)
	for text, end := range k.texts {
		v, err := b.Verify(t.Context(), text)
		if want := holds && (end.IsZero() || now.Before(end)); want != (err == nil) {
			t.Fatalf("step %d: %v; want it to hold: %v (%+v)", step, err, want, k)
		}
		if err != nil {
			continue
		}
		for _, model := range []string{"a", "b", "c", ""} {
			covered := len(k.models) == 0 || slices.Contains(k.models, model)
			if k.account {
				covered = covered && (len(bound) == 0 || slices.Contains(bound, model))
			}
			if v.Access.Grant.Model(model) != covered {
				t.Fatalf("step %d: %q is granted: %v (%+v, %v)", step, model, !covered, k, bound)
			}
		}
	}
}
