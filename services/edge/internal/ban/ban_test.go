package ban

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/sqldb"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/schema"
)

func sqlite(t *testing.T) Store {
	t.Helper()
	return openStore(t, "sqlite:"+filepath.Join(t.TempDir(), "edge.db"))
}

func openStore(t *testing.T, dsn string) Store {
	t.Helper()
	db, err := schema.Open(t.Context(), sqldb.DefaultConfig(dsn), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return NewSQLStore(db)
}

func proxy(a netip.Addr) bool { return a == netip.MustParseAddr("10.0.0.1") }

func manager(t *testing.T, store Store, c clock.Clock, change func(*Config)) *Manager {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Threshold, cfg.Window = 3, time.Minute
	cfg.Never = append(cfg.Never, "172.16.0.0/12")
	if change != nil {
		change(&cfg)
	}
	m, err := NewManager(t.Context(), cfg, store, c, slog.New(slog.DiscardHandler), nil, proxy)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// offend holds refusals against an address until it is banned, at most n.
func offend(ctx context.Context, m *Manager, addr netip.Addr, n int) {
	for range n {
		m.Offend(ctx, addr, Credentials)
	}
}

// keep stores what waits to be stored.
func keep(t *testing.T, m *Manager) {
	t.Helper()
	for len(m.queue) > 0 {
		if err := m.put(t.Context(), <-m.queue); err != nil {
			t.Fatal(err)
		}
	}
}

func TestBansGrow(t *testing.T) {
	c := clock.NewFake(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC))
	m := manager(t, sqlite(t), c, func(c *Config) { c.Longest = 3 * time.Minute })
	addr := netip.MustParseAddr("192.0.2.7")
	offend(t.Context(), m, addr, 3)
	if m.Banned(addr) {
		t.Fatal("banned for as much as is allowed")
	}
	for i, want := range []time.Duration{time.Minute, 2 * time.Minute, 3 * time.Minute, 3 * time.Minute} {
		offend(t.Context(), m, addr, 4)
		if got := m.Left(addr); got != want {
			t.Errorf("ban %d lasts %v, want %v", i, got, want)
		}
		c.Advance(want)
		if m.Banned(addr) {
			t.Errorf("ban %d holds after its end", i)
		}
	}
	c.Advance(25 * time.Hour)
	if offend(t.Context(), m, addr, 4); m.Left(addr) != time.Minute {
		t.Errorf("after a day: %v", m.Left(addr))
	}
}

// A ban that is lifted before it was stored does not come back with its storing, and one
// after that is stored.
func TestALiftedBanIsNotStored(t *testing.T) {
	c := clock.NewFake(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC))
	m := manager(t, sqlite(t), c, nil)
	addr := netip.MustParseAddr("192.0.2.7")
	offend(t.Context(), m, addr, 4)
	if _, err := m.Lift(t.Context(), netip.MustParsePrefix("192.0.2.7/32")); err != nil {
		t.Fatal(err)
	}
	keep(t, m)
	if err := m.refresh(t.Context()); err != nil || m.Banned(addr) {
		t.Fatalf("banned %v, %v", m.Banned(addr), err)
	}
	c.Advance(time.Second)
	offend(t.Context(), m, addr, 4)
	keep(t, m)
	if list, err := m.store.List(t.Context(), c.Now(), 10); err != nil || len(list) != 1 || !m.Banned(addr) {
		t.Errorf("%v, %v", list, err)
	}
}

func TestWhoIsBanned(t *testing.T) {
	m := manager(t, sqlite(t), clock.NewFake(time.Now()), nil)
	for _, s := range []string{"10.0.0.1", "172.16.3.4", "127.0.0.1"} {
		if offend(t.Context(), m, netip.MustParseAddr(s), 100); m.Banned(netip.MustParseAddr(s)) {
			t.Errorf("%s is banned", s)
		}
	}
	offend(t.Context(), m, netip.MustParseAddr("2001:db8:0:1::7"), 10)
	if !m.Banned(netip.MustParseAddr("2001:db8:0:1:ffff::9")) || m.Banned(netip.MustParseAddr("2001:db8:0:2::7")) {
		t.Error("an IPv6 address is not banned with its /64")
	}
	m.Offend(t.Context(), netip.MustParseAddr("192.0.2.1"), Firewall)
	if !m.Banned(netip.MustParseAddr("192.0.2.1")) {
		t.Error("five points of three do not ban")
	}
	var none *Manager
	if none.Offend(t.Context(), netip.Addr{}, Firewall); none.Left(netip.MustParseAddr("192.0.2.1")) != 0 {
		t.Error("without a manager somebody is banned")
	}
}

// A flood of addresses fills the table and no more.
func TestTableIsBounded(t *testing.T) {
	m := manager(t, sqlite(t), clock.NewFake(time.Now()), func(c *Config) { c.Max = 10 })
	for i := range 1000 {
		offend(t.Context(), m, netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), 4)
	}
	if n := len(m.List()); n != 10 {
		t.Errorf("%d bans", n)
	}
}

// testShared holds for every store.
func testShared(t *testing.T, open func(t *testing.T) Store) {
	t.Helper()
	store := open(t)
	c := clock.NewFake(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC))
	one, two := manager(t, store, c, nil), manager(t, store, c, nil)
	addr := netip.MustParseAddr("192.0.2.7")
	see := func(m *Manager) bool {
		t.Helper()
		if err := m.refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		return m.Banned(addr)
	}
	offend(t.Context(), one, addr, 4)
	if !see(one) {
		t.Error("a ban that is not stored yet is forgotten")
	}
	keep(t, one)
	if !see(two) || !see(one) {
		t.Error("the other edge does not know of the ban")
	}
	if third := manager(t, store, c, nil); third.Left(addr) != time.Minute {
		t.Error("an edge that starts does not know of the ban")
	}

	admin := NewServer(two)
	if _, err := admin.LiftBan(t.Context(), &edgev1.LiftBanRequest{Network: "192.0.2.7"}); err != nil {
		t.Fatal(err)
	}
	if see(one) || see(two) {
		t.Error("the ban is not lifted everywhere")
	}
	if _, err := admin.LiftBan(t.Context(), &edgev1.LiftBanRequest{Network: "192.0.2.7"}); apierr.ReasonOf(err) != apierr.NotFound {
		t.Errorf("lifted twice: %v", err)
	}
	for _, network := range []string{"192.0.2.0/24", "2001:db8::/48", "2001:db8:1::7", "203.0.113.9"} {
		if _, err := admin.CreateBan(t.Context(), &edgev1.CreateBanRequest{Network: network, Reason: "scans", Duration: durationpb.New(time.Hour)}); err != nil {
			t.Fatalf("%s: %v", network, err)
		}
	}
	if !see(one) {
		t.Error("an address in a banned network is not banned")
	}
	resp, err := admin.ListBans(t.Context(), &edgev1.ListBansRequest{PageSize: 3})
	if err != nil || len(resp.GetBans()) != 3 || resp.GetNextPageToken() == "" {
		t.Fatalf("%v, %v", resp, err)
	}
	rest, err := admin.ListBans(t.Context(), &edgev1.ListBansRequest{PageToken: resp.GetNextPageToken()})
	if err != nil || len(rest.GetBans()) != 1 || rest.GetNextPageToken() != "" {
		t.Fatalf("%v, %v", rest, err)
	}
	c.Advance(time.Hour)
	if see(one) || len(one.List()) != 0 {
		t.Error("bans hold after their end")
	}
}

func TestBansAreShared(t *testing.T) { testShared(t, sqlite) }

func TestNetworksThatCannotBeBanned(t *testing.T) {
	m := NewServer(manager(t, sqlite(t), clock.NewFake(time.Now()), nil))
	for network, want := range map[string]apierr.Reason{
		"10.0.0.1": apierr.FailedPrecondition, "172.16.0.0/16": apierr.FailedPrecondition, "127.0.0.1": apierr.FailedPrecondition,
		"0.0.0.0/0": apierr.InvalidArgument, "::/0": apierr.InvalidArgument, "nonsense": apierr.InvalidArgument,
		"::ffff:192.0.2.0/120": apierr.InvalidArgument, "fe80::1%eth0": apierr.InvalidArgument,
	} {
		_, err := m.CreateBan(t.Context(), &edgev1.CreateBanRequest{Network: network, Reason: "x", Duration: durationpb.New(time.Hour)})
		if apierr.ReasonOf(err) != want {
			t.Errorf("%s: %v, want %s", network, err, want)
		}
	}
}

// A store that is away costs nobody a ban that is known.
func TestStoreThatIsAway(t *testing.T) {
	store := &away{Store: sqlite(t)}
	m := manager(t, store, clock.NewFake(time.Now()), nil)
	addr := netip.MustParseAddr("192.0.2.7")
	offend(t.Context(), m, addr, 4)
	store.gone = true
	if err := m.refresh(t.Context()); err == nil || !m.Banned(addr) {
		t.Errorf("%v, banned: %v", err, m.Banned(addr))
	}
}

type away struct {
	Store
	gone bool
}

func (a *away) Revision(ctx context.Context) (int64, error) {
	if a.gone {
		return 0, errors.New("away")
	}
	return a.Store.Revision(ctx)
}
