// Package audit keeps one record of every request: who asked for what, how it
// was decided, and what answered. It never holds bodies or secrets. Start
// reading at Trail, which writes records, and Entry, which a request fills.
package audit

import (
	"context"
	"time"
)

// The decisions of a record.
const (
	Allowed = "allowed"
	Refused = "refused"
)

// Record is one request, as it was decided and answered.
type Record struct {
	// ID is unique and sorts by time within one replica.
	ID        string    `json:"id"`
	RequestID string    `json:"request_id"`
	Time      time.Time `json:"time"`
	Tenant    string    `json:"tenant,omitempty"`
	Subject   string    `json:"subject,omitempty"`
	KeyID     string    `json:"key_id,omitempty"`
	// Method is the full gRPC method.
	Method   string `json:"method"`
	Resource string `json:"resource,omitempty"`
	Decision string `json:"decision"`
	// Reason is the reason of the error answered, or "".
	Reason  string `json:"error_reason,omitempty"`
	Address string `json:"address,omitempty"`
	// Duration is until the answer's end.
	Duration         time.Duration `json:"duration_ns"`
	ServedBy         string        `json:"served_by,omitempty"`
	Experiment       string        `json:"experiment,omitempty"`
	Arm              string        `json:"arm,omitempty"`
	PromptTokens     int32         `json:"prompt_tokens,omitempty"`
	CompletionTokens int32         `json:"completion_tokens,omitempty"`
	// Policy is the version of the policy that decided, and Rule the rule of it.
	Policy string `json:"policy,omitempty"`
	Rule   string `json:"rule,omitempty"`
	// Findings is what the web application firewall or a detector found, and what
	// was done about it: `waf/942100 block`, `secret/aws-key redact`.
	Findings []string `json:"findings,omitempty"`
	// Review says that a rule asks for somebody to look at the request.
	Review bool `json:"review,omitempty"`
	// Documents are those that the answer cites, as collection/document.
	Documents []string `json:"documents,omitempty"`
	// Cache is what the response cache did: hit, miss or bypass.
	Cache string `json:"cache,omitempty"`
}

// Sink keeps records. Write keeps all of them, in their order, or returns an
// error, after which the same batch is given again: a record's ID tells whether it
// was kept before. Only one Write is in hand at a time.
type Sink interface {
	Write(ctx context.Context, batch []Record) error
}

// Query asks for a page of records, newest first.
type Query struct {
	// Tenant restricts to one tenant; empty: all.
	Tenant string
	// RequestID restricts to one request; empty: all.
	RequestID string
	// Before is the last record of the page before; the zero value begins.
	Before Position
	// Limit is the most records returned; positive.
	Limit int
}

// Position is a record's place in the order of time.
type Position struct {
	TimeMicros int64
	ID         string
}

// Position returns the record's place.
func (r Record) Position() Position { return Position{TimeMicros: r.Time.UnixMicro(), ID: r.ID} }

// Reader finds records again.
type Reader interface {
	List(ctx context.Context, q Query) ([]Record, error)
}
