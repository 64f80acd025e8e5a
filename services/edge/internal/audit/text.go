package audit

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/poterne/poterne/services/edge/auditproof"
)

// recordLine returns the line of a record and its content, as line would write it: there
// is one for each request, and reflection took most of the time of that.
func recordLine(rec *Record, content *Sealed) ([]byte, error) {
	out := append(make([]byte, 0, 1024), `{"record":`...)
	out = appendRecord(out, rec)
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
	return append(out, '}', '\n'), nil
}

// appendRecord appends a record without its decisions, which stand beside it.
func appendRecord(dst []byte, r *Record) []byte {
	dst = quote(append(dst, `{"id":`...), r.ID)
	dst = quote(append(dst, `,"request_id":`...), r.RequestID)
	dst = append(dst, `,"time":"`...)
	dst = r.Time.AppendFormat(dst, time.RFC3339Nano)
	dst = append(dst, '"')
	dst = textMember(dst, `,"tenant":`, r.Tenant)
	dst = textMember(dst, `,"subject":`, r.Subject)
	dst = textMember(dst, `,"key_id":`, r.KeyID)
	dst = quote(append(dst, `,"method":`...), r.Method)
	dst = textMember(dst, `,"resource":`, r.Resource)
	dst = quote(append(dst, `,"decision":`...), r.Decision)
	dst = textMember(dst, `,"error_reason":`, r.Reason)
	dst = textMember(dst, `,"address":`, r.Address)
	dst = strconv.AppendInt(append(dst, `,"duration_ns":`...), int64(r.Duration), 10)
	dst = textMember(dst, `,"served_by":`, r.ServedBy)
	dst = textMember(dst, `,"experiment":`, r.Experiment)
	dst = textMember(dst, `,"arm":`, r.Arm)
	dst = numberMember(dst, `,"prompt_tokens":`, int64(r.PromptTokens))
	dst = numberMember(dst, `,"completion_tokens":`, int64(r.CompletionTokens))
	dst = numberMember(dst, `,"cost_micros":`, r.CostMicros)
	dst = textMember(dst, `,"currency":`, r.Currency)
	dst = textMember(dst, `,"policy":`, r.Policy)
	dst = textMember(dst, `,"rule":`, r.Rule)
	dst = listMember(dst, `,"findings":`, r.Findings)
	dst = trueMember(dst, `,"review":true`, r.Review)
	dst = listMember(dst, `,"documents":`, r.Documents)
	dst = textMember(dst, `,"cache":`, r.Cache)
	dst = hashMember(dst, `,"content_sha256":"`, r.Content)
	dst = trueMember(dst, `,"content_missing":true`, r.ContentMissing)
	dst = textMember(dst, `,"chain":`, r.Chain)
	dst = numberMember(dst, `,"sequence":`, r.Sequence)
	dst = hashMember(dst, `,"previous_hash":"`, r.Previous)
	dst = hashMember(dst, `,"hash":"`, r.Hash)
	return append(dst, '}')
}

func textMember(dst []byte, name, s string) []byte {
	if s == "" {
		return dst
	}
	return quote(append(dst, name...), s)
}

func numberMember(dst []byte, name string, n int64) []byte {
	if n == 0 {
		return dst
	}
	return strconv.AppendInt(append(dst, name...), n, 10)
}

func trueMember(dst []byte, member string, is bool) []byte {
	if !is {
		return dst
	}
	return append(dst, member...)
}

func listMember(dst []byte, name string, list []string) []byte {
	if len(list) == 0 {
		return dst
	}
	dst = append(append(dst, name...), '[')
	for i, s := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = quote(dst, s)
	}
	return append(dst, ']')
}

func hashMember(dst []byte, name string, h auditproof.Hash) []byte {
	if h.IsZero() {
		return dst
	}
	dst, _ = h.AppendText(append(dst, name...))
	return append(dst, '"')
}

// quote never fails: what is not UTF-8 is replaced, as encoding/json does.
func quote(dst []byte, s string) []byte {
	out, err := jsontext.AppendQuote(dst, s)
	_ = err
	return out
}
