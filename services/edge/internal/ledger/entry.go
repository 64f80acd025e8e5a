// Package ledger keeps what requests used: one entry for each, in a journal of this
// process as long as the store has it not, and then in the store with its sums. It
// also holds what edges have taken of budgets. It decides nothing about who may use
// what (package budget) or what it costs (package price). Start reading at Writer.
package ledger

import (
	"time"
)

// The outcomes of a request.
const (
	// Whole is an answer that came to its end.
	Whole = "whole"
	// Partial is one that failed, or whose caller left, after some of it was made.
	Partial = "partial"
	// Recovered is one that was in hand when its edge was killed.
	Recovered = "recovered"
	// Cached is one that was answered from the response cache, all of it or in part:
	// it used nothing, and is none of the requests that are counted.
	Cached = "cached"
)

// Dimensions are what usage is summed by.
type Dimensions struct {
	Tenant     string `json:"t,omitempty"`
	KeyID      string `json:"k,omitempty"`
	Subject    string `json:"s,omitempty"`
	Kind       string `json:"o,omitempty"`
	Model      string `json:"m,omitempty"`
	Version    int32  `json:"v,omitempty"`
	Variant    string `json:"w,omitempty"`
	Experiment string `json:"x,omitempty"`
	Arm        string `json:"a,omitempty"`
}

// Tokens is what an engine counted: Input are tokens of the prompt, of which Cached
// came from a cache and AudioInput are of sound, and Output those generated, of which
// Reasoning are of thoughts and AudioOutput of sound.
type Tokens struct {
	Input  int64 `json:"i,omitempty"`
	Cached int64 `json:"c,omitempty"`
	Output int64 `json:"g,omitempty"`

	Reasoning   int64 `json:"gt,omitempty"`
	AudioInput  int64 `json:"ia,omitempty"`
	AudioOutput int64 `json:"ga,omitempty"`
}

// Total is all tokens.
func (t Tokens) Total() int64 { return t.Input + t.Output }

// None reports whether nothing was counted.
func (t Tokens) None() bool { return t == Tokens{} }

// Entry is what one request used. Its texts must be short: 256 bytes each.
type Entry struct {
	// ID is the entry's own, unique among all edges: the store counts it once.
	ID        string    `json:"id"`
	RequestID string    `json:"r,omitempty"`
	Time      time.Time `json:"at"`
	Dimensions
	Tokens
	Outcome   string `json:"e,omitempty"`
	Estimated bool   `json:"~,omitempty"`
	// Digest and VariantDigest are for finding the price.
	Digest        string `json:"d,omitempty"`
	VariantDigest string `json:"wd,omitempty"`
	// Cost is in millionths of the currency's unit, by the price of that revision; 0 is
	// none.
	Cost  int64 `json:"$,omitempty"`
	Price int64 `json:"p,omitempty"`
	// Charges are what counts against budgets.
	Charges []Charge `json:"b,omitempty"`
	// Claimed says that the request must not be made twice.
	Claimed bool `json:"q,omitempty"`
	// Hit says that the whole answer came from the response cache, and the others what
	// no model had to do for that; of the outcome Cached only.
	Hit         bool  `json:"h,omitempty"`
	SavedInput  int64 `json:"si,omitempty"`
	SavedOutput int64 `json:"sg,omitempty"`
	// Documents is how many documents were ranked.
	Documents int64 `json:"n,omitempty"`
}

// Period is a budget in one of its periods.
type Period struct {
	// Budget is the budget's number, and Start when the period began, in microseconds
	// since 1970; 0 for a budget that has none.
	Budget int64 `json:"b"`
	Start  int64 `json:"p,omitempty"`
}

// Charge is an amount that counts against a budget.
type Charge struct {
	Period
	Amount int64 `json:"n,omitempty"`
	// Money says that the budget is one of money, and not of tokens.
	Money bool `json:"$,omitempty"`
}
