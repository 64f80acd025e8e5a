package httperr

import (
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
)

// MetadataLimit is the Metadata key that says what ran out on RATE_LIMITED:
// "requests" (the default) or "tokens". OpenAI gives it as the error's type.
const MetadataLimit = "limit"

// OpenAI is an error as api.openai.com sends it. The SDKs choose their
// exception by the HTTP status and show message, param and code.
type OpenAI struct {
	Error OpenAIError `json:"error"`
}

// OpenAIError is the inner object; Param and Code are null when not known.
type OpenAIError struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    *string `json:"code"`
	// RequestID is an addition of this gateway; the SDKs pass it on.
	RequestID string `json:"request_id,omitempty"`
}

func newOpenAI(requestID string, e *apierr.Error) OpenAI {
	if requestID == "" {
		requestID = e.RequestID()
	}
	out := OpenAIError{Message: e.Message, RequestID: requestID}
	if e.Field != "" {
		out.Param = &e.Field
	}
	var code string
	out.Type, code = openAIType(e)
	if code != "" {
		out.Code = &code
	}
	return OpenAI{Error: out}
}

// OpenAICode returns the code of err in OpenAI's errors; empty where it has none. It is
// the same in a whole answer, in a stream and in the line of a batch.
func OpenAICode(err error) string {
	_, code := openAIType(apierr.From(err))
	return code
}

// openAIType returns the type and code that api.openai.com gives for the same
// failure where it has one, and the reason in lower case as the code elsewhere.
func openAIType(e *apierr.Error) (kind, code string) {
	const invalid, server = "invalid_request_error", "server_error"
	own := strings.ToLower(string(e.Reason))
	switch e.Reason {
	case apierr.InvalidArgument:
		return invalid, e.Metadata["code"]
	case apierr.ContentBlocked:
		return invalid, "content_filter"
	case apierr.Unauthenticated:
		return invalid, "invalid_api_key"
	case apierr.PermissionDenied:
		return "permission_error", own
	case apierr.ContextLengthExceeded, apierr.ModelNotFound, apierr.NotFound, apierr.MethodNotAllowed,
		apierr.UnsupportedMediaType, apierr.PayloadTooLarge, apierr.RequestTimeout, apierr.AlreadyExists, apierr.Conflict,
		apierr.FailedPrecondition, apierr.OutOfRange, apierr.Unimplemented, apierr.Cancelled:
		return invalid, own
	case apierr.RateLimited:
		if e.Metadata[MetadataLimit] == "tokens" {
			return "tokens", "rate_limit_exceeded"
		}
		return "requests", "rate_limit_exceeded"
	case apierr.QuotaExceeded:
		return "insufficient_quota", "insufficient_quota"
	case apierr.EngineFailed, apierr.Overloaded, apierr.Unavailable, apierr.DeadlineExceeded, apierr.Internal:
		return server, own
	default:
		return server, own
	}
}
