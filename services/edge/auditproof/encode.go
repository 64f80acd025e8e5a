package auditproof

import (
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"time"
)

// The first bytes of what is hashed: they tell what it is, and in which version of
// its encoding.
const (
	recordForm       = "poterne audit record v1\n"
	registrationForm = "poterne audit chain v1\n"
)

// encoder writes texts with their lengths before them, in four bytes, and numbers
// in eight, so that no two records have the same encoding.
type encoder []byte

func (e *encoder) text(s string) {
	*e = binary.BigEndian.AppendUint32(*e, uint32(len(s)))
	*e = append(*e, s...)
}

func (e *encoder) number(n int64) { *e = binary.BigEndian.AppendUint64(*e, uint64(n)) }

func (e *encoder) list(l []string) {
	e.number(int64(len(l)))
	for _, s := range l {
		e.text(s)
	}
}

func (e *encoder) flag(b bool) {
	if b {
		*e = append(*e, 1)
		return
	}
	*e = append(*e, 0)
}

// Encode appends the record's canonical form, without its hash, to b: version 1.
// Times are microseconds since 1970.
func (r *Record) Encode(b []byte) []byte {
	e := encoder(append(b, recordForm...))
	e.text(r.Chain)
	e.number(r.Sequence)
	e = append(e, r.Previous[:]...)
	e.text(r.ID)
	e.text(r.RequestID)
	e.number(r.Time.UnixMicro())
	for _, s := range []string{r.Tenant, r.Subject, r.KeyID, r.Method, r.Resource, r.Decision, r.Reason, r.Address} {
		e.text(s)
	}
	e.number(r.Duration.Microseconds())
	for _, s := range []string{r.ServedBy, r.Experiment, r.Arm} {
		e.text(s)
	}
	e.number(int64(r.PromptTokens))
	e.number(int64(r.CompletionTokens))
	e.text(r.Policy)
	e.text(r.Rule)
	e.list(r.Findings)
	e.flag(r.Review)
	e.list(r.Documents)
	e.text(r.Cache)
	e = append(e, r.Content[:]...)
	// What came later is there only when it says something, each with its name, so
	// that records from before it keep their hashes.
	if r.ContentMissing {
		e.text("content_missing")
		e.flag(true)
	}
	if r.Currency != "" || r.CostMicros != 0 {
		e.text("cost")
		e.number(r.CostMicros)
		e.text(r.Currency)
	}
	if len(r.Decisions) > 0 {
		e.text("decisions")
		e = binary.BigEndian.AppendUint32(e, uint32(len(r.Decisions)))
		e = append(e, r.Decisions...)
	}
	return e
}

// Sum returns the hash that the record ought to have.
func (r *Record) Sum() Hash {
	h, _ := r.SumIn(make([]byte, 0, 2048))
	return h
}

// SumIn is Sum in memory of the caller's, which it returns: more of it where that was
// not enough.
func (r *Record) SumIn(memory []byte) (Hash, []byte) {
	form := r.Encode(memory[:0])
	return sha256.Sum256(form), form
}

// Normalise brings the record to what every store gives back as it was: times in
// microseconds and UTC, and texts without what PostgreSQL does not take.
func (r *Record) Normalise() {
	r.Time = time.UnixMicro(r.Time.UnixMicro()).UTC()
	r.Duration = r.Duration.Truncate(time.Microsecond)
	for _, s := range []*string{
		&r.RequestID, &r.Tenant, &r.Subject, &r.KeyID, &r.Method, &r.Resource, &r.Reason, &r.Address,
		&r.ServedBy, &r.Experiment, &r.Arm, &r.Policy, &r.Rule, &r.Cache, &r.Currency,
	} {
		*s = Clean(*s)
	}
	r.Findings, r.Documents = cleanList(r.Findings), cleanList(r.Documents)
}

// Clean makes text from outside one that PostgreSQL takes: a record must not be
// refused for what its caller wrote.
func Clean(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// cleanList returns l with clean texts; the caller's own stays as it is.
func cleanList(l []string) []string {
	if len(l) == 0 {
		return nil
	}
	out := make([]string, len(l))
	for i, s := range l {
		out[i] = Clean(s)
	}
	return out
}

// Registration is what makes a chain known. Registrations are a chain themselves,
// in the order of their serial numbers, so that a chain that is gone leaves a gap.
type Registration struct {
	// Serial is the chain's number among all, from 1.
	Serial int64  `json:"serial"`
	Chain  string `json:"chain"`
	// Time is when the chain began.
	Time time.Time `json:"time"`
	// Key is what verifies the chain's checkpoints, in the form of C2SP's
	// signed-note: name+id+key.
	Key string `json:"key"`
	// Before is how many records there were outside of any chain when the chain was
	// registered.
	Before int64 `json:"records_before,omitempty"`
	// Previous is the hash of the registration before; zero for the first.
	Previous Hash `json:"previous_hash,omitzero"`
	Hash     Hash `json:"hash"`
}

// Sum returns the hash that the registration ought to have.
func (r *Registration) Sum() Hash {
	e := encoder(registrationForm)
	e.number(r.Serial)
	e.text(r.Chain)
	e.number(r.Time.UnixMicro())
	e.text(r.Key)
	e.number(r.Before)
	e = append(e, r.Previous[:]...)
	return sha256.Sum256(e)
}
