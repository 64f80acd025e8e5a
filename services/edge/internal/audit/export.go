package audit

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/poterne/poterne/services/edge/auditproof"
)

// Export writes records as lines: JSON objects, or CSV.
type Export struct {
	csv  bool
	send func([]byte) error
}

// NewExport returns an export that gives whole lines to send, which keeps them.
func NewExport(asCSV bool, send func([]byte) error) *Export { return &Export{csv: asCSV, send: send} }

func csvColumns() []string {
	return []string{
		"time", "id", "request_id", "tenant", "subject", "key_id", "method", "resource", "decision", "error_reason", "address",
		"duration_ms", "served_by", "experiment", "arm", "prompt_tokens", "completion_tokens", "cost_micros", "currency", "policy", "rule", "findings", "review",
		"documents", "cache", "content", "content_sha256", "chain", "sequence", "previous_hash", "hash",
	}
}

// Begin writes what stands before the records.
func (e *Export) Begin() error {
	if !e.csv {
		return nil
	}
	return e.rows([][]string{csvColumns()})
}

// Proof writes what the records are verified by.
func (e *Export) Proof(regs []auditproof.Registration, checkpoints []string) error {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	seen := make(map[string]bool)
	for i := range regs {
		if r := &regs[i]; !seen[r.Key] {
			seen[r.Key] = true
			if err := enc.Encode(auditproof.Line{Key: r.Key}); err != nil {
				return fmt.Errorf("audit: encode: %w", err)
			}
		}
		if err := enc.Encode(auditproof.Line{Registration: &regs[i]}); err != nil {
			return fmt.Errorf("audit: encode: %w", err)
		}
	}
	for _, text := range checkpoints {
		if err := enc.Encode(auditproof.Line{Checkpoint: text}); err != nil {
			return fmt.Errorf("audit: encode: %w", err)
		}
		if buf.Len() >= exportPiece {
			if err := e.send(bytes.Clone(buf.Bytes())); err != nil {
				return err
			}
			buf.Reset()
		}
	}
	return e.send(buf.Bytes())
}

// Keys writes keys that verify checkpoints.
func (e *Export) Keys(keys []string) error {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	for _, k := range keys {
		if err := enc.Encode(auditproof.Line{Key: k}); err != nil {
			return fmt.Errorf("audit: encode: %w", err)
		}
	}
	return e.send(buf.Bytes())
}

// Proven writes records with their proofs, as JSON lines.
func (e *Export) Proven(recs []ProvenRecord) error {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	for i := range recs {
		if err := enc.Encode(auditproof.Line{Record: &recs[i].Record, Proof: recs[i].Proof}); err != nil {
			return fmt.Errorf("audit: encode: %w", err)
		}
	}
	return e.send(buf.Bytes())
}

const exportPiece = 256 << 10

// Records writes records.
func (e *Export) Records(recs []Record) error {
	if len(recs) == 0 {
		return nil
	}
	if e.csv {
		rows := make([][]string, len(recs))
		for i := range recs {
			rows[i] = csvRow(&recs[i])
		}
		return e.rows(rows)
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	for i := range recs {
		if err := enc.Encode(&recs[i]); err != nil {
			return fmt.Errorf("audit: encode: %w", err)
		}
	}
	return e.send(buf.Bytes())
}

func (e *Export) rows(rows [][]string) error {
	var buf bytes.Buffer
	w := csv.NewWriter(&buf)
	if err := w.WriteAll(rows); err != nil {
		return fmt.Errorf("audit: encode: %w", err)
	}
	return e.send(buf.Bytes())
}

func csvRow(r *Record) []string {
	out := []string{
		r.Time.Format(time.RFC3339Nano), r.ID, r.RequestID, r.Tenant, r.Subject, r.KeyID, r.Method, r.Resource, r.Decision, r.Reason, r.Address,
		strconv.FormatFloat(float64(r.Duration)/float64(time.Millisecond), 'f', -1, 64), r.ServedBy, r.Experiment, r.Arm,
		strconv.Itoa(int(r.PromptTokens)), strconv.Itoa(int(r.CompletionTokens)), strconv.FormatInt(r.CostMicros, 10), r.Currency, r.Policy, r.Rule, strings.Join(r.Findings, "; "),
		strconv.FormatBool(r.Review), strings.Join(r.Documents, "; "), r.Cache, r.ContentState(), hashText(r.Content), r.Chain, strconv.FormatInt(r.Sequence, 10),
		hashText(r.Previous), hashText(r.Hash),
	}
	for i, cell := range out {
		out[i] = harmless(cell)
	}
	return out
}

// harmless keeps a spreadsheet from taking what a caller wrote for a formula: such a
// cell begins with an apostrophe then.
func harmless(cell string) string {
	if cell != "" && strings.ContainsRune("=+-@\t\r\n", rune(cell[0])) {
		return "'" + cell
	}
	return cell
}
