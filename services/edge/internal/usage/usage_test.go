package usage

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/services/edge/internal/arrival"
	"github.com/poterne/poterne/services/edge/internal/budget"
	"github.com/poterne/poterne/services/edge/internal/ledger"
	"github.com/poterne/poterne/services/edge/internal/metering"
	"github.com/poterne/poterne/services/edge/internal/price"
)

func TestARequestIsSettledByWhatTheEngineCounted(t *testing.T) {
	o := newOffice(t, nil)
	o.price("chat", price.Rates{Input: 1_000_000, Output: 2_000_000})
	o.price("chat@v3", price.Rates{Input: 3_000_000, Output: 1_000_000})
	money := o.budget(budget.Budget{ID: "money", Scope: budget.Team, Name: "lab", Every: budget.Month, Unit: budget.Money, Amount: 1000, Hard: true, Warnings: []int32{40}})
	tokens := o.budget(budget.Budget{ID: "tokens", Scope: budget.Key, Name: "k1", Every: budget.Total, Unit: budget.Tokens, Amount: 100_000, Hard: true})

	a := o.must(chat(100, 50))
	// The dearest of each class: 100 × 3 + 50 × 2.
	if _, held := o.stands(money); held != 400 {
		t.Errorf("%d is reserved", held)
	}
	if _, held := o.stands(tokens); held != 150 {
		t.Errorf("%d tokens are reserved", held)
	}
	a.Note(used(20, 1))
	a.Note(used(20, 30))
	a.End(t.Context(), nil)
	if settled, held := o.stands(money); settled != 90 || held != 0 {
		t.Errorf("%d is settled, %d reserved", settled, held)
	}
	if settled, held := o.stands(tokens); settled != 50 || held != 0 {
		t.Errorf("%d tokens are settled, %d reserved", settled, held)
	}
	if micros, currency := a.entry.Cost(); micros != 90 || currency != "USD" {
		t.Errorf("the cost is %d %s", micros, currency)
	}

	o.must(chat(10, 10)).End(t.Context(), errors.New("no worker")) // nothing was made
	left := o.must(chat(10, 10))
	left.Note(used(7, 3)) // and then its caller left
	left.End(t.Context(), context.Canceled)
	if settled, held := o.stands(money); settled != 90+24 || held != 0 {
		t.Errorf("%d is settled, %d reserved", settled, held)
	}
	over := o.must(chat(1, 1))
	over.Note(used(100, 100)) // more than was reserved counts too
	over.End(t.Context(), nil)
	if settled, held := o.stands(money); settled != 90+24+400 || held != 0 {
		t.Errorf("%d is settled, %d reserved", settled, held)
	}
	warned := o.must(chat(1, 1))
	if got := warned.header.Get(HeaderBudget); len(got) != 1 || got[0] != "money;used=51" {
		t.Errorf("the warning is %q", got)
	}
	warned.End(t.Context(), errors.New("no worker"))
	if got := o.total(); got.Requests != 3 || got.Partial != 1 || got.Cost != 514 || got.Input != 127 || got.Output != 133 {
		t.Errorf("%+v", got)
	}
	_, err := o.ask(as(t.Context(), "lab"), chat(100, 100))
	if e := apierr.From(err); e.Reason != apierr.QuotaExceeded || !strings.Contains(e.Message, `"money"`) || e.Metadata["period"] != "month" {
		t.Errorf("more than is left: %v", err)
	}
	if other, err := o.ask(as(t.Context()), chat(100, 100)); err != nil { // not of the team
		t.Error(err)
	} else {
		other.End(t.Context(), context.Canceled)
	}
	o.adds()
}

// Who is refused is told when it is worth another try, and of nothing where it never is.
func TestARefusalSaysWhenToComeAgain(t *testing.T) {
	untilMidnight := 12 * time.Hour
	for name, c := range map[string]struct {
		every        budget.Every
		used, inHand int64
		need         int
		after        time.Duration
		says         string
	}{
		"used up":                {budget.Day, 40, 0, 5, untilMidnight, "is used up: of 40 tokens until 2026-05-11T00:00:00Z, 40 used and 0 reserved, and this request may come to 5; it begins anew then"},
		"a small rest":           {budget.Day, 30, 0, 20, untilMidnight, "too little left for this request: of 40 tokens until 2026-05-11T00:00:00Z, 30 used and 0 reserved, and this request may come to 20; it begins anew then"},
		"a small rest in hand":   {budget.Day, 30, 5, 20, untilMidnight, "30 used and 5 reserved, and this request may come to 20; it begins anew then"},
		"enough but in hand":     {budget.Day, 0, 30, 20, time.Second, "(of the tenant, a day) has too little left for this request: of 40 tokens until 2026-05-11T00:00:00Z, 0 used and 31 reserved"},
		"in hand of a total":     {budget.Total, 0, 30, 20, time.Second, "(of the tenant, in all) has too little left for this request: of 40 tokens, 0 used and 31 reserved"},
		"a small rest of all":    {budget.Total, 30, 0, 20, 0, "too little left for this request"},
		"all of a total is used": {budget.Total, 40, 0, 5, 0, "is used up"},
		"more than it ever has":  {budget.Day, 0, 0, 41, 0, "is smaller than what this request may come to"},
		"more, and some is used": {budget.Day, 40, 0, 41, 0, "(max_tokens); of 40 tokens until 2026-05-11T00:00:00Z, 40 used and 0 reserved, and this request may come to 41"},
	} {
		o := newOffice(t, nil)
		b := o.budget(budget.Budget{ID: "lab", Scope: budget.Tenant, Every: c.every, Unit: budget.Tokens, Amount: 40, Hard: true})
		if c.used > 0 {
			a := o.must(chat(20, 20))
			a.Note(used(int32(c.used), 0))
			a.End(t.Context(), nil)
			o.stands(b)
		}
		if c.inHand > 0 {
			o.must(chat(0, c.inHand))
		}
		_, err := o.ask(as(t.Context()), chat(c.need-1, 1))
		e := apierr.From(err)
		if e.Reason != apierr.QuotaExceeded || e.RetryAfter != c.after || !strings.Contains(e.Message, c.says) ||
			strings.Contains(e.Message, "anew") != (c.after == untilMidnight) {
			t.Errorf("%s: %v, again after %v", name, err, e.RetryAfter)
		}
	}
}

// What a request can do without is refused as if nobody had asked for it.
func TestWhatIsOptionalIsRefusedInSilence(t *testing.T) {
	for _, optional := range []bool{false, true} {
		o := newOffice(t, nil)
		told := 0
		o.Meter.refused = func(budget.Budget) { told++ }
		o.budget(budget.Budget{ID: "lab", Scope: budget.Tenant, Every: budget.Day, Unit: budget.Tokens, Amount: 10, Hard: true})
		d := chat(100, 100)
		d.Optional = optional
		a, err := o.ask(as(t.Context()), d)
		if apierr.ReasonOf(err) != apierr.QuotaExceeded {
			t.Errorf("optional %t: %v", optional, err)
		}
		if found := a.entry.Record().Findings; (told == 0) != optional || (len(found) == 0) != optional {
			t.Errorf("optional %t: %d are told, the trail has %q", optional, told, found)
		}
	}
}

// A caller who leaves while the ledger is asked says nothing of the ledger.
func TestWhoLeavesIsNotTheLedgersFault(t *testing.T) {
	o := newOffice(t, nil)
	o.budget(budget.Budget{ID: "lab", Scope: budget.Tenant, Every: budget.Day, Unit: budget.Tokens, Amount: 1 << 40, Hard: true})
	ctx, leave := context.WithCancel(as(t.Context()))
	leave()
	if _, err := o.ask(ctx, chat(100_000, 100_000)); !errors.Is(err, context.Canceled) || apierr.ReasonOf(err) == apierr.Unavailable {
		t.Errorf("got %v", err)
	}
}

// What does not fit by its bytes is counted by the model's own tokeniser.
func TestThePromptIsCountedWhereBytesDoNotFit(t *testing.T) {
	o := newOffice(t, nil)
	o.budget(budget.Budget{ID: "all", Scope: budget.Tenant, Every: budget.Day, Unit: budget.Tokens, Amount: 100, Hard: true})
	asked := 0
	d := chat(500, 20)
	d.Count = func(context.Context) (int64, error) { asked++; return 80, nil }
	a := o.must(d)
	if asked != 1 {
		t.Errorf("the prompt was counted %d times", asked)
	}
	a.End(t.Context(), context.Canceled)
	fits := chat(50, 20)
	fits.Count = d.Count
	o.must(fits).End(t.Context(), context.Canceled)
	if asked != 1 {
		t.Error("a prompt that fits was counted")
	}
	if _, err := o.ask(as(t.Context()), chat(0, 0)); apierr.ReasonOf(err) != apierr.QuotaExceeded { // as many as are usual
		t.Errorf("without a bound: %v", err)
	}
}

func TestAllOfABudgetOrNone(t *testing.T) {
	o := newOffice(t, nil)
	big := o.budget(budget.Budget{ID: "big", Scope: budget.Tenant, Every: budget.Total, Unit: budget.Tokens, Amount: 1000, Hard: true})
	o.budget(budget.Budget{ID: "small", Scope: budget.Key, Name: "k1", Every: budget.Total, Unit: budget.Tokens, Amount: 10, Hard: true})
	if _, err := o.ask(as(t.Context()), chat(50, 50)); apierr.ReasonOf(err) != apierr.QuotaExceeded {
		t.Fatal(err)
	}
	if settled, held := o.stands(big); settled != 0 || held != 0 {
		t.Errorf("%d is settled, %d reserved", settled, held)
	}
}

func TestWithoutAPrice(t *testing.T) {
	o := newOffice(t, nil)
	a := o.must(chat(10, 10))
	a.Note(used(5, 5))
	a.End(t.Context(), nil)
	if got := o.total(); got.Unpriced != 1 || got.Cost != 0 || got.Output != 5 || len(a.header) != 0 {
		t.Errorf("%+v, %v", got, a.header)
	}
	o.Meter.cfg.RequirePrice = true
	if _, err := o.ask(as(t.Context()), chat(10, 10)); apierr.ReasonOf(err) != apierr.FailedPrecondition {
		t.Errorf("%v", err)
	}
	o.price("*", price.Rates{Embedding: 7_000_000, Rerank: 1_000_000, Request: 5_000_000})
	for _, q := range []struct {
		kind metering.Kind
		cost int64
	}{{metering.Embed, 75}, {metering.Rerank, 15}, {metering.Generate, 5}} {
		a := o.must(metering.Demand{Kind: q.kind, Model: "chat", PromptBytes: 100})
		a.Note(used(10, 0))
		a.End(t.Context(), nil)
		if micros, currency := a.entry.Cost(); micros != q.cost || currency != "USD" {
			t.Errorf("%s costs %d %s, want %d", q.kind, micros, currency, q.cost)
		}
	}
}

// A killed process: what had ended, and what engines had counted of what had not, is
// settled by the next one, once; what it held is free again.
func TestAKilledEdgeLosesNothing(t *testing.T) {
	o := newOffice(t, nil)
	o.price("chat", price.Rates{Input: 1_000_000, Output: 1_000_000})
	b := o.budget(budget.Budget{ID: "all", Scope: budget.Tenant, Every: budget.Total, Unit: budget.Money, Amount: 10_000, Hard: true})
	once := func(key string) context.Context {
		return arrival.OfHTTP(as(t.Context()), &http.Request{Header: http.Header{"Idempotency-Key": {key}}})
	}
	for range 3 {
		a := o.must(chat(100, 100))
		a.Note(used(10, 5))
		a.End(t.Context(), nil) // not written to the store
	}
	for i, key := range []string{"begun", "unheard"} { // in hand
		a, err := o.ask(once(key), chat(100, 100))
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			a.Note(used(7, 1))
			a.Note(used(7, 2))
		}
	}
	o.kill()
	o.start("second")
	if settled, held := o.stands(b); settled != 3*15+9 || held != 0 {
		t.Errorf("%d is settled, %d reserved", settled, held)
	}
	if got := o.total(); got.Requests != 4 || got.Partial != 1 || got.Input != 37 || got.Output != 17 {
		t.Errorf("%+v", got)
	}
	if _, err := o.ask(once("begun"), chat(1, 1)); apierr.ReasonOf(err) != apierr.Conflict {
		t.Errorf("what was settled is made again: %v", err)
	}
	if _, err := o.ask(once("unheard"), chat(1, 1)); err != nil {
		t.Errorf("what used nothing is not made again: %v", err)
	}
	o.kill()
	o.start("third")
	if settled, held := o.stands(b); settled != 54 || held != 0 {
		t.Errorf("%d is settled, %d reserved", settled, held)
	}
	o.adds()
}

func TestARequestIsMadeOnce(t *testing.T) {
	o := newOffice(t, nil)
	ask := func(key string, groups ...string) (*answer, error) {
		return o.ask(arrival.OfHTTP(as(t.Context(), groups...), &http.Request{Header: http.Header{"Idempotency-Key": {key}}}), chat(10, 10))
	}
	a, err := ask("a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ask("a"); apierr.ReasonOf(err) != apierr.Conflict {
		t.Errorf("in hand: %v", err)
	}
	a.End(t.Context(), errors.New("no worker"))
	if a, err = ask("a"); err != nil {
		t.Fatalf("after one that used nothing: %v", err)
	}
	a.Note(used(1, 1))
	a.End(t.Context(), nil)
	if _, err := ask("a"); apierr.ReasonOf(err) != apierr.Conflict {
		t.Errorf("after one that was answered: %v", err)
	}
	other := identity.NewContext(t.Context(), identity.NewCaller("acme", "bob", nil, nil))
	if _, err := o.ask(arrival.OfHTTP(other, &http.Request{Header: http.Header{"Idempotency-Key": {"a"}}}), chat(10, 10)); err != nil {
		t.Errorf("another caller's: %v", err)
	}
	grpc := metadata.NewIncomingContext(as(t.Context()), metadata.Pairs("idempotency-key", "a"))
	if _, err := o.ask(grpc, chat(10, 10)); apierr.ReasonOf(err) != apierr.Conflict {
		t.Errorf("over gRPC: %v", err)
	}
	for _, bad := range []string{"", strings.Repeat("x", 256), "é", "a\x01"} {
		if _, err := ask(bad); apierr.ReasonOf(err) != apierr.InvalidArgument {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if got := o.total(); got.Requests != 1 {
		t.Errorf("%+v", got)
	}
}

func TestWhenTheLedgerIsAway(t *testing.T) {
	for _, policy := range []string{AwayRefuse, AwayAllow} {
		o := newOffice(t, func(c *Config) { c.WhenAway, c.Timeout = policy, 50*time.Millisecond })
		b := o.budget(budget.Budget{ID: "all", Scope: budget.Tenant, Every: budget.Total, Unit: budget.Tokens, Amount: 100_000, Hard: true})
		o.must(chat(10, 10)).End(t.Context(), context.Canceled)
		if err := o.db.Close(); err != nil {
			t.Fatal(err)
		}
		a := o.must(chat(10, 10)) // what this edge holds
		a.Note(used(10, 10))
		a.End(t.Context(), nil)
		a, err := o.ask(as(t.Context()), chat(5000, 5000))
		if policy == AwayRefuse {
			if e := apierr.From(err); e.Reason != apierr.Unavailable || e.RetryAfter == 0 {
				t.Errorf("%v", err)
			}
		} else {
			if err != nil || a.header.Get(HeaderBudget)[0] != "unchecked" {
				t.Fatalf("%v, %v", err, a.header)
			}
			a.Note(used(300, 300))
			a.End(t.Context(), nil)
		}
		o.kill()
		o.db = openDB(t, o.dsn)
		o.start("second")
		want := map[string]int64{AwayRefuse: 20, AwayAllow: 620}[policy]
		if settled, held := o.stands(b); settled != want || held != 0 {
			t.Errorf("%s: %d is settled, %d reserved", policy, settled, held)
		}
		o.adds()
	}
}

// What a caller wrote must not be what a store refuses: all entries behind it would wait.
func TestTextsAreWhatStoresTake(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "chat": "chat", "a\x00b\x00": "ab", "a\xffb": "ab", strings.Repeat("é", 200): strings.Repeat("é", 128), "x" + strings.Repeat("é", 200): "x" + strings.Repeat("é", 127),
	} {
		if got := short(text); got != want {
			t.Errorf("%q is kept as %q", text, got)
		}
	}
	if got := modelName("a\x00b@v3"); got != "ab" {
		t.Errorf("a model's name is kept as %q", got)
	}
}

// Each class goes to the meters as the ledger has it: the two have fields of one name.
func TestMetersAreToldEveryClass(t *testing.T) {
	var e ledger.Entry
	e.Documents = 99
	v := reflect.ValueOf(&e.Tokens).Elem()
	for i := range v.NumField() {
		v.Field(i).SetInt(int64(i + 1))
	}
	told := reflect.ValueOf(tokensByClass(&e))
	for field, value := range told.Fields() {
		want := reflect.ValueOf(e).FieldByName(field.Name)
		if !want.IsValid() || value.Int() != want.Int() {
			t.Errorf("%s is told as %v, and is %v", field.Name, value, want)
		}
	}
	if told.NumField() != v.NumField()+1 { // and the documents
		t.Errorf("%d of %d classes are told", told.NumField(), v.NumField()+1)
	}
}
