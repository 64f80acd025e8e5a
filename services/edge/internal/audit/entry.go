package audit

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/poterne/poterne/services/edge/internal/explain"
)

// Entry is the record of a request while that is in hand. Every step adds what
// it learns. All methods may be called on a nil Entry, which ignores them, and
// from several goroutines at once.
type Entry struct {
	mu      sync.Mutex
	rec     Record
	omitted bool
	begun   bool
	content Content
	refused bool

	notes explain.Notes

	// Of those in hand (InHand), which holds them under its own lock.
	before, after *Entry
}

// Content gathers what is to be kept of a call's content.
type Content interface {
	// Answer takes the answer as the caller gets it, or a piece of a stream. It
	// keeps no piece; a whole answer must not change until Seal.
	Answer(message any, piece bool)
	// Seal encrypts what was gathered for a record, and notes it there; nil when it
	// cannot be kept. Pieces that come later are lost.
	Seal(ctx context.Context, rec *Record) *Sealed
}

// SetContent has content kept of the call.
func (e *Entry) SetContent(c Content) {
	if e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.content = c
}

// Content returns what gathers the call's content; nil when none is to be kept.
func (e *Entry) Content() Content {
	if e == nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.content
}

// NewEntry returns the entry of a request whose record has this id.
func NewEntry(id string) *Entry { return &Entry{rec: Record{ID: id}} }

// Key is what a context is asked for to find a request's *Entry: for one that carries
// more than that.
type Key struct{}

// NewContext returns ctx carrying e.
func NewContext(ctx context.Context, e *Entry) context.Context {
	return context.WithValue(ctx, Key{}, e)
}

// From returns the entry of the request that ctx belongs to; nil outside one.
func From(ctx context.Context) *Entry {
	e, _ := ctx.Value(Key{}).(*Entry)
	return e
}

func (e *Entry) set(f func(*Record)) {
	if e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	f(&e.rec)
}

// SetRequest notes which request it is, for those who ask while it is in hand.
func (e *Entry) SetRequest(id, method string) {
	e.set(func(r *Record) { r.RequestID, r.Method = id, method })
}

// SetAddress notes where the request came from.
func (e *Entry) SetAddress(a netip.Addr) {
	if a.IsValid() {
		e.set(func(r *Record) { r.Address = a.String() })
	}
}

// SetCaller notes who asked.
func (e *Entry) SetCaller(tenant, subject string) {
	e.set(func(r *Record) { r.Tenant, r.Subject = tenant, subject })
}

// SetKeyID notes which key was shown, also one that was refused.
func (e *Entry) SetKeyID(id string) { e.set(func(r *Record) { r.KeyID = id }) }

// SetResource notes what the request is about, at most 256 bytes of it.
func (e *Entry) SetResource(s string) {
	e.set(func(r *Record) { r.Resource = s[:min(len(s), 256)] })
}

// SetServedBy notes the model's version that answered, `name@v3`, and where it was
// not by its own weights the variant: `name@v3 q4_k_m`. A conversation that began
// with a prompt has that too: `name@v3 with greeting@v2`.
func (e *Entry) SetServedBy(version string) { e.set(func(r *Record) { r.ServedBy = version }) }

// SetArm notes the arm that answered, and the experiment that it is of; of a plain
// traffic split that is empty.
func (e *Entry) SetArm(experiment, arm string) {
	e.set(func(r *Record) { r.Experiment, r.Arm = experiment, arm })
}

// SetTokens notes what the request used.
func (e *Entry) SetTokens(prompt, completion int32) {
	e.set(func(r *Record) { r.PromptTokens, r.CompletionTokens = prompt, completion })
}

// AddCost notes what a model's work cost, in millionths of the currency; what several
// works cost is added up.
func (e *Entry) AddCost(micros int64, currency string) {
	e.set(func(r *Record) { r.CostMicros, r.Currency = r.CostMicros+micros, currency })
}

// SetPolicy notes the version of the policy that decided, and the rule of it.
func (e *Entry) SetPolicy(version, rule string) {
	e.set(func(r *Record) { r.Policy, r.Rule = version, rule })
}

// Policy is the version of the policy that decided; empty before it did.
func (e *Entry) Policy() string {
	if e == nil {
		return ""
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.rec.Policy
}

// maxListed bounds the findings, and the documents, of one record.
const maxListed = 64

// AddFinding notes what the firewall or a detector found, and what was done: one
// of a bounded set of texts, never what was found itself. It reports whether that is
// new.
func (e *Entry) AddFinding(s string) (added bool) {
	e.set(func(r *Record) {
		if len(r.Findings) < maxListed && !slices.Contains(r.Findings, s) {
			r.Findings, added = append(r.Findings, s), true
		}
	})
	return added
}

// SetReview notes that somebody should look at the request.
func (e *Entry) SetReview() { e.set(func(r *Record) { r.Review = true }) }

// SetDocuments notes which documents the answer rests on: the first 64 of them, at
// most 512 bytes of each.
func (e *Entry) SetDocuments(ids []string) {
	e.set(func(r *Record) {
		r.Documents = nil
		for _, id := range ids[:min(len(ids), maxListed)] {
			r.Documents = append(r.Documents, id[:min(len(id), 512)])
		}
	})
}

// SetCache notes what the response cache did.
func (e *Entry) SetCache(s string) { e.set(func(r *Record) { r.Cache = s }) }

// Explain has decisions kept about the request, which came at arrival.
func (e *Entry) Explain(arrival time.Time, now func() time.Time) {
	if e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.notes.Begin(arrival, now)
	e.rec.Time = arrival
}

// Decide notes what a step decided about the request. It keeps nothing of d.
func (e *Entry) Decide(d explain.Decision) {
	if e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.notes.Add(d)
}

// Unexplained has no decisions kept.
func (e *Entry) Unexplained() {
	if e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.notes.Off()
}

// Decisions returns what was decided so far, in order, and how many decisions were
// beyond the bound.
func (e *Entry) Decisions() (out []explain.Decision, omitted int) {
	list, omitted, err := e.decided().Decode()
	if err != nil {
		return nil, 0 // what Notes wrote can be read
	}
	for _, d := range list {
		out = append(out, explain.Decision{
			Step: d.Step, Outcome: d.Outcome, Detail: d.Detail, Attributes: d.Attributes, Start: e.arrival().Add(d.Start), Duration: d.Duration,
		})
	}
	return out, omitted
}

func (e *Entry) decided() explain.Encoded {
	if e == nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.notes.Encoded()
}

func (e *Entry) arrival() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.rec.Time
}

// Conclude notes the last decision, and returns all of them.
func (e *Entry) Conclude(d explain.Decision) explain.Encoded {
	if e == nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.notes.End(d)
}

// ID is the id that the record has.
func (e *Entry) ID() string {
	if e == nil {
		return ""
	}
	return e.rec.ID // never changes
}

// Cost returns what the request cost so far; without a currency nobody has priced it.
func (e *Entry) Cost() (micros int64, currency string) {
	if e == nil {
		return 0, ""
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.rec.CostMicros, e.rec.Currency
}

// SetBegun notes that the trail knows of the change that is being made.
func (e *Entry) SetBegun() {
	if e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.begun = true
}

// Begun reports whether SetBegun was called.
func (e *Entry) Begun() bool {
	if e == nil {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.begun
}

// SetRefused notes that the request is refused, also where the answer says that there
// is no such thing.
func (e *Entry) SetRefused() {
	if e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.refused = true
}

// Refused reports whether SetRefused was called.
func (e *Entry) Refused() bool {
	if e == nil {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.refused
}

// Omit says that no record of the request is to be kept: one of many alike.
func (e *Entry) Omit() {
	if e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.omitted = true
}

// Omitted reports whether Omit was called.
func (e *Entry) Omitted() bool {
	if e == nil {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.omitted
}

// Record returns what is known by now.
func (e *Entry) Record() Record {
	if e == nil {
		return Record{}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	r := e.rec
	r.Findings, r.Documents = slices.Clone(r.Findings), slices.Clone(r.Documents)
	return r
}
