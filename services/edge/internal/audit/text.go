package audit

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/poterne/poterne/services/edge/auditproof"
	"github.com/poterne/poterne/services/edge/internal/jsonmember"
)

// appendRecordObject appends a journalLine of a record and its content, as encoding/json
// would write it: there is one for each request, and reflection took most of the time
// of that.
func appendRecordObject(dst []byte, rec *Record, content *Sealed) ([]byte, error) {
	out := appendRecord(append(dst, `{"record":`...), rec)
	if content != nil {
		text, err := json.Marshal(content)
		if err != nil {
			return nil, fmt.Errorf("audit: encode: %w", err)
		}
		out = append(append(out, `,"content":`...), text...)
	}
	if len(rec.Decisions) > 0 {
		out = append(out, `,"decisions":"`...)
		out = base64.StdEncoding.AppendEncode(out, rec.Decisions)
		out = append(out, '"')
	}
	return append(out, '}'), nil
}

// appendRecord appends a record without its decisions, which stand beside it.
func appendRecord(dst []byte, r *Record) []byte {
	dst = jsonmember.Quote(append(dst, `{"id":`...), r.ID)
	dst = jsonmember.Quote(append(dst, `,"request_id":`...), r.RequestID)
	dst = append(dst, `,"time":"`...)
	dst = r.Time.AppendFormat(dst, time.RFC3339Nano)
	dst = append(dst, '"')
	dst = jsonmember.Text(dst, `,"tenant":`, r.Tenant)
	dst = jsonmember.Text(dst, `,"subject":`, r.Subject)
	dst = jsonmember.Text(dst, `,"key_id":`, r.KeyID)
	dst = jsonmember.Quote(append(dst, `,"method":`...), r.Method)
	dst = jsonmember.Text(dst, `,"resource":`, r.Resource)
	dst = jsonmember.Quote(append(dst, `,"decision":`...), r.Decision)
	dst = jsonmember.Text(dst, `,"error_reason":`, r.Reason)
	dst = jsonmember.Text(dst, `,"address":`, r.Address)
	dst = strconv.AppendInt(append(dst, `,"duration_ns":`...), int64(r.Duration), 10)
	dst = jsonmember.Text(dst, `,"served_by":`, r.ServedBy)
	dst = jsonmember.Text(dst, `,"experiment":`, r.Experiment)
	dst = jsonmember.Text(dst, `,"arm":`, r.Arm)
	dst = jsonmember.Number(dst, `,"prompt_tokens":`, int64(r.PromptTokens))
	dst = jsonmember.Number(dst, `,"completion_tokens":`, int64(r.CompletionTokens))
	dst = jsonmember.Number(dst, `,"cost_micros":`, r.CostMicros)
	dst = jsonmember.Text(dst, `,"currency":`, r.Currency)
	dst = jsonmember.Text(dst, `,"policy":`, r.Policy)
	dst = jsonmember.Text(dst, `,"rule":`, r.Rule)
	dst = jsonmember.List(dst, `,"findings":`, r.Findings)
	dst = jsonmember.True(dst, `,"review":true`, r.Review)
	dst = jsonmember.List(dst, `,"documents":`, r.Documents)
	dst = jsonmember.Text(dst, `,"cache":`, r.Cache)
	dst = hashMember(dst, `,"content_sha256":"`, r.Content)
	dst = jsonmember.True(dst, `,"content_missing":true`, r.ContentMissing)
	dst = jsonmember.Text(dst, `,"chain":`, r.Chain)
	dst = jsonmember.Number(dst, `,"sequence":`, r.Sequence)
	dst = hashMember(dst, `,"previous_hash":"`, r.Previous)
	dst = hashMember(dst, `,"hash":"`, r.Hash)
	return append(dst, '}')
}

func hashMember(dst []byte, name string, h auditproof.Hash) []byte {
	if h.IsZero() {
		return dst
	}
	dst, _ = h.AppendText(append(dst, name...))
	return append(dst, '"')
}
