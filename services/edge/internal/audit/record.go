// Package audit keeps one record of every request: who asked for what, how it
// was decided, and what answered. It never holds bodies or secrets; what a tenant
// wants kept of those is encrypted by package auditcontent before it comes here. Start
// reading at Trail, which writes records, and Entry, which a request fills.
package audit

import (
	"context"
	"time"

	"github.com/poterne/poterne/services/edge/auditproof"
)

// The decisions of a record.
const (
	Allowed = "allowed"
	Refused = "refused"
)

// Unfinished is the reason of a change of which only the beginning is known: the
// process ended before it knew the outcome.
const Unfinished = "UNFINISHED"

// Record is one request, as it was decided and answered.
type Record = auditproof.Record

// Sink keeps records. Write keeps all of them, in their order, or returns an
// error, after which the same batch is given again: a record's ID tells whether it
// was kept before. Only one Write is in hand at a time.
type Sink interface {
	Write(ctx context.Context, batch []Record) error
}

// The states of a record's content.
const (
	ContentKept    = auditproof.ContentKept
	ContentMissing = auditproof.ContentMissing
)

// Sealed is the content of one call, encrypted.
type Sealed struct {
	Record  string    `json:"record"`
	Tenant  string    `json:"tenant"`
	Subject string    `json:"subject"`
	Key     string    `json:"key"` // the name of the key that opens it
	Time    time.Time `json:"time"`
	Data    []byte    `json:"data"`
}

// ContentSink keeps contents beside records; *SQLSink is one. WriteBoth does what
// Write does, and keeps the contents that belong to records of batch.
type ContentSink interface {
	WriteBoth(ctx context.Context, batch []Record, contents []Sealed) error
}

// Query asks for a page of records, newest first.
type Query struct {
	// Tenant restricts to one tenant; empty: all.
	Tenant string
	// RequestID restricts to one request, ID to one record, Subject and KeyID to one
	// caller; empty: all.
	RequestID, ID, Subject, KeyID string
	// Filter restricts to the records that it selects.
	Filter Filter
	// From restricts to records of then and later; zero: all.
	From time.Time
	// Oldest has the oldest first, and not the newest.
	Oldest bool
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

// PositionOf returns a record's place.
func PositionOf(r Record) Position { return Position{TimeMicros: r.Time.UnixMicro(), ID: r.ID} }

// Reader finds records again.
type Reader interface {
	List(ctx context.Context, q Query) ([]Record, error)
}
