// Package httperr writes the taxonomy of package apierr as HTTP answers: RFC
// 9457 problem documents, and the shapes that OpenAI's SDKs and clients of the
// Open Inference Protocol read. It decides nothing; start reading at
// WriteProblem, WriteOpenAI and WriteInference.
package httperr

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
)

// typeBase begins the type of every problem; the reason follows.
const typeBase = "https://poterne.dev/errors/"

// Problem is a problem document (RFC 9457) with the members that every answer
// of this gateway adds.
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	// Instance is the path of the request, when known.
	Instance string `json:"instance,omitempty"`
	// Code is the reason of package apierr, for programs.
	Code      string         `json:"code"`
	RequestID string         `json:"request_id,omitempty"`
	Errors    []ProblemField `json:"errors,omitempty"`
	// Etag is that of what is there, of a CONFLICT that knows it: empty when
	// nothing is, nil when the error does not say.
	Etag *string `json:"etag,omitempty"`
}

// ProblemField is one field at fault.
type ProblemField struct {
	Field  string `json:"field"`
	Detail string `json:"detail"`
}

// NewProblem returns err as a problem document.
func NewProblem(requestID string, err error) Problem {
	e := apierr.From(err)
	if requestID == "" {
		requestID = e.RequestID()
	}
	p := Problem{
		Type:      typeBase + string(e.Reason),
		Title:     title(e.HTTPStatus()),
		Status:    e.HTTPStatus(),
		Detail:    e.Message,
		Code:      string(e.Reason),
		RequestID: requestID,
	}
	if etag, ok := e.Metadata["etag"]; ok && e.Reason == apierr.Conflict {
		p.Etag = &etag
	}
	for _, v := range e.Faults() {
		p.Errors = append(p.Errors, ProblemField{Field: v.Field, Detail: v.Description})
	}
	return p
}

func title(status int) string {
	if status == apierr.StatusClientClosedRequest {
		return "Client Closed Request"
	}
	return http.StatusText(status)
}

// WriteProblem answers with err, which must not be nil, as a problem document.
func WriteProblem(w http.ResponseWriter, requestID string, err error) {
	e := apierr.From(err)
	write(w, e, "application/problem+json", NewProblem(requestID, e))
}

// WriteOpenAI answers with err, which must not be nil, in OpenAI's shape.
func WriteOpenAI(w http.ResponseWriter, requestID string, err error) {
	e := apierr.From(err)
	write(w, e, "application/json", newOpenAI(requestID, e))
}

// Inference is an error of the Open Inference Protocol, with the members that
// every answer of this gateway adds.
type Inference struct {
	Error string `json:"error"`
	// Code is the reason of package apierr, for programs.
	Code      string `json:"code"`
	Field     string `json:"field,omitempty"`
	RequestID string `json:"request_id,omitempty"`
}

// WriteInference answers with err, which must not be nil, in the shape of the
// Open Inference Protocol.
func WriteInference(w http.ResponseWriter, requestID string, err error) {
	e := apierr.From(err)
	if requestID == "" {
		requestID = e.RequestID()
	}
	write(w, e, "application/json", Inference{Error: e.Message, Code: string(e.Reason), Field: e.Field, RequestID: requestID})
}

// OpenAIBody returns err in OpenAI's shape, for an error event inside a stream
// whose status was sent long ago.
func OpenAIBody(err error, requestID string) []byte {
	return marshal(newOpenAI(requestID, apierr.From(err)))
}

// ProblemBody returns err as a problem document, for an error event inside a
// stream whose status was sent long ago.
func ProblemBody(err error, requestID string) []byte {
	return marshal(NewProblem(requestID, err))
}

func write(w http.ResponseWriter, e *apierr.Error, contentType string, body any) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Del("Content-Length")
	if s := RetryAfterSeconds(e); s > 0 {
		h.Set("Retry-After", strconv.Itoa(s))
	}
	if e.Reason == apierr.Unauthenticated && h.Get("WWW-Authenticate") == "" {
		h.Set("WWW-Authenticate", "Bearer")
	}
	w.WriteHeader(e.HTTPStatus())
	_, _ = w.Write(append(marshal(body), '\n'))
}

func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		return []byte(`{}`) // strings and numbers always encode
	}
	return b
}

// RetryAfterSeconds returns what the Retry-After header says for e, in whole
// seconds rounded up: what is known, 1 on a 429 or 503 that says nothing, else
// 0 for no header.
func RetryAfterSeconds(e *apierr.Error) int {
	switch status := e.HTTPStatus(); {
	case e.RetryAfter > 0:
		return int(math.Ceil(float64(e.RetryAfter) / float64(time.Second)))
	case e.Reason == apierr.QuotaExceeded:
		return 0 // only known with the quota's window
	case status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable:
		return 1
	default:
		return 0
	}
}
