package apikey

import (
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/poterne/poterne/services/edge/internal/grant"
)

func full() grant.Grant {
	return grant.Grant{
		Scopes: []string{"model:*"}, Models: []string{"tiny", "qwen*"}, Collections: []string{"kb"},
		Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")},
	}
}

func account(id string) Account {
	return Account{
		Tenant: "acme", ID: id, DisplayName: "CI", Description: "builds", Roles: []string{"reader"}, Groups: []string{"ops"},
		Grant: full(), Owner: "team-ci", Creator: "ada", CreateTime: at(0),
	}
}

// testStoreOfGrants holds for every store; dsn returns an empty one.
func testStoreOfGrants(t *testing.T, dsn func(t *testing.T) string) {
	t.Helper()
	t.Run("everything of a key is kept", func(t *testing.T) {
		s := openSQL(t, dsn(t))
		a := must(s.CreateAccount(t.Context(), account("ci")))(t)
		want := record("a")
		want.Grant, want.Owner, want.Creator, want.ServiceAccount, want.Account = full(), "team", "ada", "ci", &a
		want.Previous, want.UpdateTime, want.RotateTime, want.PreviousExpireTime = Hash{"11", "p0"}, at(1), at(2), at(3)
		created := must(s.Create(t.Context(), want))(t)
		want.Revision = 2
		if !reflect.DeepEqual(created, want) {
			t.Fatalf("created %+v", created)
		}
		if got := must(s.Get(t.Context(), "a"))(t); !reflect.DeepEqual(got, want) {
			t.Fatalf("got  %+v\nwant %+v", got, want)
		}
		want.Name, want.Grant, want.ExpireTime = "new", grant.Grant{}, at(9)
		got := must(s.Update(t.Context(), "a", func(r *Record) error {
			r.Name, r.Grant, r.ExpireTime = "new", grant.Grant{}, at(9)
			return nil
		}))(t)
		want.Revision = 3
		if !reflect.DeepEqual(got, want) || !reflect.DeepEqual(must(s.Get(t.Context(), "a"))(t), want) {
			t.Fatalf("updated %+v", got)
		}
	})
	t.Run("an update that is refused changes nothing", func(t *testing.T) {
		s := openSQL(t, dsn(t))
		must(s.Create(t.Context(), record("a")))(t)
		no := errors.New("no")
		if _, err := s.Update(t.Context(), "a", func(r *Record) error { r.Name = "x"; return no }); !errors.Is(err, no) {
			t.Fatal(err)
		}
		if _, err := s.Update(t.Context(), "b", func(*Record) error { return nil }); !errors.Is(err, ErrNotFound) {
			t.Fatal(err)
		}
		must(s.Revoke(t.Context(), "a", at(1)))(t)
		if _, err := s.Update(t.Context(), "a", func(*Record) error { return nil }); !errors.Is(err, ErrEnded) {
			t.Fatal(err)
		}
		if r := must(s.Get(t.Context(), "a"))(t); r.Name != "ci" || r.Revision != 2 {
			t.Fatalf("%+v", r)
		}
	})
	t.Run("lists by what is asked", func(t *testing.T) {
		s := openSQL(t, dsn(t))
		must(s.CreateAccount(t.Context(), account("ci")))(t)
		for id, change := range map[string]func(*Record){
			"a": func(*Record) {}, "b": func(r *Record) { r.Owner = "team" }, "c": func(r *Record) { r.ExpireTime = at(5) },
			"d": func(r *Record) { r.ServiceAccount = "ci" }, "e": func(r *Record) { r.Subject = "bob" }, "f": func(r *Record) { r.CreateTime = at(50) },
		} {
			r := record(id)
			change(&r)
			must(s.Create(t.Context(), r))(t)
		}
		must(s.Revoke(t.Context(), "a", at(1)))(t)
		if err := s.Used(t.Context(), map[string]time.Time{"b": at(40), "e": at(20)}); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			filter Filter
			want   []string
		}{
			{Filter{Owner: "team"}, []string{"b"}},
			{Filter{Subject: "bob"}, []string{"e"}},
			{Filter{ServiceAccount: "ci"}, []string{"d"}},
			{Filter{State: Active}, []string{"b", "d", "e", "f"}},
			{Filter{State: StateRevoked}, []string{"a"}},
			{Filter{State: StateExpired}, []string{"c"}},
			{Filter{State: StateDisabled}, nil},
			{Filter{UnusedSince: at(30)}, []string{"a", "c", "d", "e"}},
			{Filter{UnusedSince: at(30), State: Active, Subject: "ada", Tenant: "acme"}, []string{"d"}},
		} {
			c.filter.Limit, c.filter.Now = 10, at(10)
			var ids []string
			for _, r := range must(s.List(t.Context(), c.filter))(t) {
				ids = append(ids, r.ID)
			}
			if !slices.Equal(ids, c.want) {
				t.Errorf("%+v: %v", c.filter, ids)
			}
		}
		must(s.UpdateAccount(t.Context(), AccountID{"acme", "ci"}, func(a *Account) error { a.Disabled = true; return nil }))(t)
		if l := must(s.List(t.Context(), Filter{State: StateDisabled, Now: at(10), Limit: 10}))(t); len(l) != 1 || l[0].ID != "d" {
			t.Errorf("disabled: %+v", l)
		}
		if l := must(s.GetAll(t.Context(), []string{"a", "nobody", "d"}))(t); len(l) != 2 {
			t.Errorf("some of them: %+v", l)
		}
	})
	t.Run("the latest use stays", func(t *testing.T) {
		where := dsn(t)
		one, two := openSQL(t, where), openSQL(t, where)
		must(one.Create(t.Context(), record("a")))(t)
		for i, s := range []*SQLStore{one, two, one} {
			if err := s.Used(t.Context(), map[string]time.Time{"a": at([]int{10, 30, 20}[i]), "gone": at(1)}); err != nil {
				t.Fatal(err)
			}
		}
		if r := must(one.Get(t.Context(), "a"))(t); !r.LastUseTime.Equal(at(30)) || r.Revision != 1 {
			t.Fatalf("%+v", r)
		}
	})
	t.Run("accounts", func(t *testing.T) { testAccounts(t, openSQL(t, dsn(t))) })
	t.Run("peppers are claimed once", func(t *testing.T) {
		s := openSQL(t, dsn(t))
		for _, c := range []struct {
			pepper string
			known  []string
			there  []string
		}{
			{"one", []string{"one"}, nil},
			{"two", []string{"two"}, []string{"one"}},
			{"one", []string{"one"}, []string{"one"}},
			{"two", []string{"two", "one"}, []string{"one"}},
			{"two", []string{"two"}, []string{"one", "two"}},
		} {
			if there := must(s.Claim(t.Context(), c.pepper, c.known, at(0)))(t); !slices.Equal(there, c.there) {
				t.Errorf("%+v: %v", c, there)
			}
		}
	})
	t.Run("a hash is made anew once", func(t *testing.T) {
		s := openSQL(t, dsn(t))
		r := record("a")
		r.Previous = Hash{"11", "p0"}
		must(s.Create(t.Context(), r))(t)
		if ok := must(s.Rehash(t.Context(), "a", Hash{"00ff", "p1"}, Hash{"22", "p2"}))(t); !ok {
			t.Fatal("not replaced")
		}
		if ok := must(s.Rehash(t.Context(), "a", Hash{"11", "p0"}, Hash{"33", "p2"}))(t); !ok {
			t.Fatal("the previous one was not replaced")
		}
		if ok := must(s.Rehash(t.Context(), "a", Hash{"00ff", "p1"}, Hash{"44", "p2"}))(t); ok {
			t.Fatal("replaced again")
		}
		if r := must(s.Get(t.Context(), "a"))(t); r.Secret != (Hash{"22", "p2"}) || r.Previous != (Hash{"33", "p2"}) || r.Revision != 1 {
			t.Fatalf("%+v", r)
		}
	})
}

func testAccounts(t *testing.T, s *SQLStore) {
	t.Helper()
	id := AccountID{"acme", "ci"}
	want := account("ci")
	created := must(s.CreateAccount(t.Context(), want))(t)
	want.Revision = 1
	if got := must(s.GetAccount(t.Context(), id))(t); !reflect.DeepEqual(got, want) || !reflect.DeepEqual(created, want) {
		t.Fatalf("got  %+v\nwant %+v", got, want)
	}
	if _, err := s.CreateAccount(t.Context(), want); !errors.Is(err, ErrExists) {
		t.Fatal(err)
	}
	other := account("ci")
	other.Tenant = "globex"
	must(s.CreateAccount(t.Context(), other))(t)
	must(s.CreateAccount(t.Context(), account("web")))(t)
	for tenant, n := range map[string]int{"": 3, "acme": 2, "globex": 1} {
		f, found := AccountFilter{Tenant: tenant, Limit: 1}, 0
		for {
			page := must(s.ListAccounts(t.Context(), f))(t)
			if len(page) == 0 {
				break
			}
			found += len(page)
			f.After = AccountID{page[0].Tenant, page[0].ID}
		}
		if found != n {
			t.Errorf("%d accounts of %q", found, tenant)
		}
	}
	for _, missing := range []error{
		err2(s.GetAccount(t.Context(), AccountID{"globex", "web"})), s.DeleteAccount(t.Context(), AccountID{"globex", "web"}, at(0), true),
		err2(s.UpdateAccount(t.Context(), AccountID{"globex", "web"}, func(*Account) error { return nil })),
	} {
		if !errors.Is(missing, ErrNoAccount) {
			t.Errorf("%v", missing)
		}
	}
	for _, key := range []string{"a", "b", "c"} {
		r := record(key)
		r.ServiceAccount = "ci"
		if key == "c" {
			r.ExpireTime = at(1)
		}
		must(s.Create(t.Context(), r))(t)
	}
	orphan := record("d")
	orphan.ServiceAccount = "nobody"
	if _, err := s.Create(t.Context(), orphan); !errors.Is(err, ErrNoAccount) {
		t.Fatal(err)
	}
	if err := s.DeleteAccount(t.Context(), id, at(5), false); !errors.Is(err, ErrHasKeys) {
		t.Fatal(err)
	}
	if err := s.DeleteAccount(t.Context(), id, at(5), true); err != nil {
		t.Fatal(err)
	}
	seen := make(map[int64]bool)
	for _, key := range []string{"a", "b", "c"} {
		r := must(s.Get(t.Context(), key))(t)
		if !r.RevokeTime.Equal(at(5)) || r.Account != nil || seen[r.Revision] {
			t.Errorf("%+v", r)
		}
		seen[r.Revision] = true
	}
	if got := must(s.AccountChanges(t.Context(), 1, 10))(t); len(got) != 2 || got[0].Tenant != "globex" || got[1].ID != "web" {
		t.Errorf("changes: %+v", got)
	}
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func err2[T any](_ T, err error) error { return err }
