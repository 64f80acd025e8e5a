package price

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/services/edge/internal/schema"
)

func day(n int) time.Time { return time.Date(2026, 5, n, 0, 0, 0, 0, time.UTC) }

func TestMicrosAreReadAndWritten(t *testing.T) {
	for text, want := range map[string]Micros{"0": 0, "1": 1e6, "12.5": 12_500_000, "0.000001": 1, "9223372036854": 9223372036854000000} {
		got, err := ParseMicros(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%s is %d (%s), %v", text, got, got, err)
		}
	}
	for _, text := range []string{"", ".", "1.", ".5", "-1", "+1", "1e3", "0.0000001", "9223372036855", "1,5", "１"} {
		if got, err := ParseMicros(text); err == nil {
			t.Errorf("%q is read as %d", text, got)
		}
	}
}

// What a request costs is the sum of exact numbers, rounded up once.
func TestCostIsExact(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		n := func() int64 { return rnd.Int64N(int64(1) << rnd.IntN(40)) }
		rate := func() int64 { return min(rnd.Int64N(int64(1)<<rnd.IntN(61)), MaxRate) }
		cached := rate()
		reasoning, audioIn, audioOut := rate(), rate(), rate()
		r := Rates{
			Input: rate(), Output: rate(), Embedding: rate(), Rerank: rate(), Request: rate(), Document: rate(), Cached: &cached,
			Reasoning: &reasoning, AudioInput: &audioIn, AudioOutput: &audioOut,
		}
		u := Units{
			Input: n(), Cached: n(), Output: n(), Embedding: n(), Rerank: n(), Requests: n(), Reasoning: n(), AudioInput: n(), AudioOutput: n(), Documents: n(),
		}
		sum := new(big.Int)
		for _, p := range [][2]int64{{r.Input, u.Input}, {cached, u.Cached}, {r.Output, u.Output}, {r.Embedding, u.Embedding}, {r.Rerank, u.Rerank}, {r.Request, u.Requests}, {reasoning, u.Reasoning}, {audioIn, u.AudioInput}, {audioOut, u.AudioOutput}, {r.Document, u.Documents}} {
			sum.Add(sum, new(big.Int).Mul(big.NewInt(p[0]), big.NewInt(p[1])))
		}
		sum.Add(sum, big.NewInt(999_999)).Div(sum, big.NewInt(1_000_000))
		want := int64(math.MaxInt64)
		if sum.IsInt64() {
			want = sum.Int64()
		}
		if got := r.Cost(u); int64(got) != want {
			t.Fatalf("%+v × %+v costs %d, want %d", r, u, got, want)
		}
	}
	if got := (Rates{Input: 150_000}).Cost(Units{Input: 1, Cached: 1}); got != 1 {
		t.Errorf("two tokens at 0.15 a million cost %d", got)
	}
	if got := (Rates{Input: 1e6, Output: 10e6}).Cost(Units{AudioInput: 1, Reasoning: 1, AudioOutput: 1}); got != 21 {
		t.Errorf("without prices of their own a token of sound, a thought and a token of sound cost %d", got)
	}
	if got := (Rates{Input: -5, Output: 1}).Cost(Units{Input: 5, Output: -3}); got != 0 {
		t.Errorf("numbers below 0 cost %d", got)
	}
}

func TestTargetsAreRead(t *testing.T) {
	digest := "sha256:" + fmt.Sprintf("%064x", 7)
	for _, text := range []string{"chat", "chat@v3", "acme.chat", "*", digest} {
		if got, err := ParseTarget(text, "q4"); err != nil || got.Reference() != text || got.Key() != text+" q4" {
			t.Errorf("%q is %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "chat@3", "chat@v0", "chat@v03", "chat@v", "chat@prod", "*@v1", "a b", "sha256:12", "@v1", "chat@v99999999999", "chat\u0080", "a\x00b", "a\tb"} {
		if got, err := ParseTarget(text, ""); err == nil {
			t.Errorf("%q is read as %+v", text, got)
		}
		if got, err := ParseTarget("chat", text); (err == nil) == strings.ContainsAny(text, "\u0080\x00\t") {
			t.Errorf("the variant %q is read as %+v, %v", text, got, err)
		}
	}
}

func TestTheMostExactPriceCounts(t *testing.T) {
	digest, variantDigest := "sha256:"+fmt.Sprintf("%064x", 1), "sha256:"+fmt.Sprintf("%064x", 2)
	served := Served{Model: "chat", Version: 3, Digest: digest, Variant: "q4", VariantDigest: variantDigest}
	// From the least exact to the most.
	order := []Target{
		{Model: Every},
		{Model: Every, Variant: "q4"},
		{Model: "chat"},
		{Model: "chat", Variant: "q4"},
		{Model: "chat", Version: 3},
		{Model: "chat", Version: 3, Variant: "q4"},
		{Digest: digest},
		{Digest: digest, Variant: "q4"},
		{Digest: variantDigest},
	}
	prices := []Price{
		{Target: Target{Model: "other"}, Currency: "USD", Rates: Rates{Input: 999}, Revision: 90},
		{Target: Target{Model: "chat", Version: 4}, Currency: "USD", Rates: Rates{Input: 998}, Revision: 91},
		{Target: Target{Model: "chat", Version: 3}, Currency: "EUR", Rates: Rates{Input: 997}, Revision: 92},
	}
	for i, target := range order {
		if _, found := NewBook("USD", prices).Find(served, day(2)); found != (i > 0) {
			t.Fatalf("with %d prices one is found: %v", i, found)
		}
		prices = append(prices, Price{Target: target, Currency: "USD", ValidFrom: day(1), Rates: Rates{Input: int64(i + 1)}, Revision: int64(i + 1)})
		b := NewBook("USD", prices)
		if p, ok := b.Find(served, day(2)); !ok || p.Revision != int64(i+1) {
			t.Errorf("with %+v the price is %+v", target, p)
		}
		most, ok := b.Most("chat@v3", day(2))
		if p, _ := b.Find(served, day(2)); !ok || most.Input < p.Rates.Input {
			t.Errorf("the most of %+v is %+v", target, most)
		}
	}
	b := NewBook("USD", prices)
	if r, ok := b.Most("chat", day(2)); !ok || r.Input != 998 {
		t.Errorf("the most of every version is %+v", r)
	}
	if r, ok := b.Most("chat@prod", day(2)); !ok || r.Input != 998 {
		t.Errorf("the most of an alias is %+v", r)
	}
	if r, ok := b.Most("chat@v3", day(2)); !ok || r.Input != 9 {
		t.Errorf("the most of one version is %+v", r)
	}
	if _, ok := b.Find(served, day(1).Add(-time.Microsecond)); ok {
		t.Error("a price counts before it is valid")
	}
}

func TestPricesFollowEachOther(t *testing.T) {
	p := func(from int, input int64, removed bool) Price {
		return Price{Target: Target{Model: "chat"}, Currency: "USD", ValidFrom: day(from), Rates: Rates{Input: input}, Removed: removed, Revision: input}
	}
	prices := []Price{p(10, 2, false), p(1, 1, false), p(20, 3, true), p(25, 4, false)}
	b := NewBook("USD", prices)
	for at, want := range map[int]int64{1: 1, 9: 1, 10: 2, 19: 2, 20: 0, 24: 0, 25: 4, 28: 4} {
		if got, ok := b.Find(Served{Model: "chat", Version: 1}, day(at)); got.Rates.Input != want && ok || ok != (want > 0) {
			t.Errorf("on day %d the price is %+v", at, got)
		}
	}
	if got := InForce(prices, day(12)); len(got) != 3 || got[0].Revision != 2 {
		t.Errorf("in force are %+v", got)
	}
}

func TestSQLiteStore(t *testing.T) { testStore(t, "sqlite://"+t.TempDir()+"/edge.db") }

func testStore(t *testing.T, dsn string) {
	t.Helper()
	db, err := schema.Open(t.Context(), sqldb.DefaultConfig(dsn), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	s := NewSQLStore(db)
	cached := int64(0)
	in := Price{
		Target: Target{Model: "chat", Version: 3, Variant: "q4"}, Rates: Rates{Input: MaxRate, Output: 2, Cached: &cached}, Currency: "EUR",
		ValidFrom: day(1), CreateTime: day(2), Creator: "ana@acme",
	}
	first, err := s.Set(t.Context(), in, day(1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Set(t.Context(), in, day(1)); !errors.Is(err, ErrBegun) {
		t.Errorf("the same again, when it holds: %v", err)
	}
	if _, err := s.Delete(t.Context(), first.Revision, day(1)); !errors.Is(err, ErrBegun) {
		t.Errorf("one that holds is removed: %v", err)
	}
	in.ValidFrom, in.Removed = day(3), true
	second, err := s.Set(t.Context(), in, day(2))
	if err != nil || second.Revision <= first.Revision {
		t.Errorf("%+v, %v", second, err)
	}
	list, err := s.List(t.Context())
	if err != nil || len(list) != 2 || list[0].Target != in.Target || list[0].Rates.Cached == nil || list[0].Rates.Input != MaxRate || !list[1].Removed ||
		!list[1].ValidFrom.Equal(day(3)) || list[0].Creator != "ana@acme" || list[0].Currency != "EUR" {
		t.Errorf("%+v, %v", list, err)
	}
	in.Removed, in.Rates.Output = false, 9
	third, err := s.Set(t.Context(), in, day(3).Add(-time.Microsecond))
	if err != nil || third.Revision <= second.Revision {
		t.Errorf("in place of one that does not hold yet: %+v, %v", third, err)
	}
	if list, err = s.List(t.Context()); err != nil || len(list) != 2 || list[1].Removed || list[1].Rates.Output != 9 || list[1].Revision != third.Revision {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := s.Delete(t.Context(), second.Revision, day(2)); !errors.Is(err, ErrNotFound) {
		t.Errorf("one that was replaced is removed: %v", err)
	}
	if p, err := s.Delete(t.Context(), third.Revision, day(2)); err != nil || p.Rates.Output != 9 || !p.ValidFrom.Equal(day(3)) {
		t.Errorf("%+v, %v", p, err)
	}
	if list, err = s.List(t.Context()); err != nil || len(list) != 1 || list[0].Revision != first.Revision {
		t.Errorf("%+v, %v", list, err)
	}
}
