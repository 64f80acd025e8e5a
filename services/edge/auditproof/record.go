// Package auditproof is what proves an audit trail: the form of a record, the hash
// that links it to the one before it, the signed checkpoints over many, and the
// Verifier that finds what was changed, removed, moved, added or cut off. It reads
// no store, so that the edge and an auditor without one use the same code. Start
// reading at Record and Verifier.
package auditproof

import (
	"encoding/hex"
	"errors"
	"time"

	"github.com/poterne/poterne/services/edge/internal/explain"
)

// The states of a record's content.
const (
	ContentKept    = "kept"
	ContentMissing = "missing"
)

// ContentState says what is kept of the content; empty when none was to be.
func (r *Record) ContentState() string {
	switch {
	case !r.Content.IsZero():
		return ContentKept
	case r.ContentMissing:
		return ContentMissing
	default:
		return ""
	}
}

// Hash is a SHA-256. As text it is hexadecimal digits.
type Hash [32]byte

// MarshalText writes hexadecimal digits.
func (h Hash) MarshalText() ([]byte, error) { return h.AppendText(nil) }

// AppendText appends hexadecimal digits.
func (h Hash) AppendText(b []byte) ([]byte, error) { return hex.AppendEncode(b, h[:]), nil }

// UnmarshalText reads hexadecimal digits.
func (h *Hash) UnmarshalText(text []byte) error {
	if len(text) != 2*len(h) {
		return errors.New("a hash has 64 hexadecimal digits")
	}
	_, err := hex.Decode(h[:], text)
	return err
}

// String returns hexadecimal digits.
func (h Hash) String() string {
	var text [2 * len(h)]byte
	return string(hex.AppendEncode(text[:0], h[:]))
}

// IsZero reports whether there is no hash.
func (h Hash) IsZero() bool { return h == Hash{} }

// Record is one request, as it was decided and answered, and its place in a chain.
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
	// CostMicros is what the call cost, in millionths of Currency; without a currency
	// nobody has priced it.
	CostMicros int64  `json:"cost_micros,omitempty"`
	Currency   string `json:"currency,omitempty"`
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
	// Content is the SHA-256 of the sealed prompt and answer, which are kept apart
	// from the record; zero when they are not kept.
	Content Hash `json:"content_sha256,omitzero"`
	// ContentMissing says that the prompt and the answer should have been kept, and
	// could not be.
	ContentMissing bool `json:"content_missing,omitempty"`
	// Decisions is what each step decided about the request; empty when that is not
	// kept, and in records from before it was.
	Decisions explain.Encoded `json:"decisions,omitempty"`

	// Chain is the chain that the record is in; empty for records from before there
	// were chains.
	Chain string `json:"chain,omitempty"`
	// Sequence is the record's number in its chain, from 0.
	Sequence int64 `json:"sequence,omitempty"`
	// Previous is the hash of the record before it; of the first, the hash of the
	// chain's registration.
	Previous Hash `json:"previous_hash,omitzero"`
	// Hash is over everything above.
	Hash Hash `json:"hash,omitzero"`
}
