package httperr

import (
	"cmp"
	"net/http"
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
)

// Anthropic is an error of Anthropic's API, with the members that every answer of
// this gateway adds.
type Anthropic struct {
	Type      string         `json:"type"`
	Error     AnthropicError `json:"error"`
	RequestID string         `json:"request_id,omitempty"`
}

// AnthropicError is what was wrong.
type AnthropicError struct {
	Type    string `json:"type"`
	Message string `json:"message"`
	// Code is what OpenAI's errors have for it, or the reason of package apierr in lower
	// case, for programs.
	Code  string `json:"code"`
	Field string `json:"field,omitempty"`
}

// WriteAnthropic answers with err, which must not be nil, in the shape of
// Anthropic's API.
func WriteAnthropic(w http.ResponseWriter, requestID string, err error) {
	e := apierr.From(err)
	write(w, e, "application/json", newAnthropic(requestID, e))
}

// AnthropicBody returns err in Anthropic's shape, for an error event inside a
// stream whose status was sent long ago.
func AnthropicBody(err error, requestID string) []byte {
	return marshal(newAnthropic(requestID, apierr.From(err)))
}

func newAnthropic(requestID string, e *apierr.Error) Anthropic {
	if requestID == "" {
		requestID = e.RequestID()
	}
	_, code := openAIType(e)
	return Anthropic{Type: "error", RequestID: requestID, Error: AnthropicError{
		Type: anthropicType(e.HTTPStatus()), Message: e.Message, Code: cmp.Or(code, strings.ToLower(string(e.Reason))), Field: e.Field,
	}}
}

// anthropicType is how Anthropic calls a status.
func anthropicType(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return "authentication_error"
	case http.StatusPaymentRequired:
		return "billing_error"
	case http.StatusForbidden:
		return "permission_error"
	case http.StatusNotFound:
		return "not_found_error"
	case http.StatusRequestEntityTooLarge:
		return "request_too_large"
	case http.StatusTooManyRequests:
		return "rate_limit_error"
	case http.StatusServiceUnavailable:
		return "overloaded_error"
	case http.StatusGatewayTimeout:
		return "timeout_error"
	}
	if status >= http.StatusInternalServerError {
		return "api_error"
	}
	return "invalid_request_error"
}
