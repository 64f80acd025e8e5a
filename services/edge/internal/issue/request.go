package issue

import (
	"encoding/base64"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/edge/internal/authn"
)

// The bounds of a request.
const (
	maxFormBytes  = 16 << 10
	maxParameters = 64
)

// The errors of RFC 6749 (section 5.2) and RFC 8707 (section 2).
const (
	invalidRequest   = "invalid_request"
	invalidClient    = "invalid_client"
	invalidScope     = "invalid_scope"
	invalidTarget    = "invalid_target"
	unsupportedGrant = "unsupported_grant_type"
)

// Error is why no token is issued, in OAuth's words.
type Error struct{ Code, Description string }

func (e *Error) Error() string { return "tokens: " + e.Code + ": " + e.Description }

// Unwrap is for the audit trail.
func (e *Error) Unwrap() error { return apierr.New(apierr.InvalidArgument, "%s", e.Description) }

func wrong(code, description string) error { return &Error{code, description} }

// request is what a client asks for.
type request struct {
	clientID, secret string
	grantType        string
	scopes, targets  []string
}

// readRequest reads a form (RFC 6749, section 4.4.2). Client credentials are in the
// header, or in the form: in one place, and never in the URL.
func readRequest(r *http.Request) (out request, err error) {
	if r.URL.RawQuery != "" || r.URL.ForceQuery {
		return out, wrong(invalidRequest, "parameters are in the body, not in the URL")
	}
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || mediaType != "application/x-www-form-urlencoded" || r.Header.Get("Content-Encoding") != "" {
		return out, wrong(invalidRequest, "the body must be a form: send Content-Type: application/x-www-form-urlencoded")
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxFormBytes+1))
	if err != nil {
		return out, wrong(invalidRequest, "the body could not be read to its end")
	}
	if len(body) > maxFormBytes {
		return out, wrong(invalidRequest, "the body is too large")
	}
	return parseForm(string(body), r.Header.Values("Authorization"))
}

func parseForm(body string, authorization []string) (out request, err error) {
	form, err := url.ParseQuery(body)
	if err != nil || len(form) > maxParameters {
		return out, wrong(invalidRequest, "the body is no form")
	}
	for name, values := range form {
		// RFC 8707 lets these be repeated, RFC 6749 (section 3.2) no other.
		if len(values) > 1 && name != "resource" && name != "audience" {
			return out, wrong(invalidRequest, "a parameter is there twice")
		}
	}
	out = request{
		clientID: form.Get("client_id"), secret: form.Get("client_secret"), grantType: form.Get("grant_type"),
		scopes: strings.Fields(form.Get("scope")), targets: targets(form),
	}
	switch {
	case len(out.scopes) > maxScopes || len(out.targets) > maxScopes:
		return out, wrong(invalidRequest, "too much is asked for at once")
	case len(authorization) > 1:
		return out, wrong(invalidRequest, "credentials are there twice")
	case len(authorization) == 1:
		if out.secret != "" {
			return out, wrong(invalidRequest, "credentials are there twice")
		}
		err := out.basic(authorization[0])
		return out, err
	}
	return out, nil
}

// targets returns whom the token should be meant for.
func targets(form url.Values) (out []string) {
	for _, t := range slices.Concat(form["audience"], form["resource"]) {
		if t != "" && !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	return out
}

// basic takes the credentials of the header, which are encoded as a form's (RFC
// 6749, section 2.3.1).
func (r *request) basic(header string) error {
	scheme, text, _ := strings.Cut(header, " ")
	raw, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSpace(text))
	id, secret, ok := strings.Cut(string(raw), ":")
	if !strings.EqualFold(scheme, "basic") || err != nil || !ok {
		return &authn.RefusedError{Cause: authn.Malformed}
	}
	inForm := r.clientID
	if r.clientID, err = url.QueryUnescape(id); err != nil {
		return &authn.RefusedError{Cause: authn.Malformed}
	}
	if r.secret, err = url.QueryUnescape(secret); err != nil {
		return &authn.RefusedError{Cause: authn.Malformed}
	}
	if inForm != "" && inForm != r.clientID {
		return wrong(invalidRequest, "client_id is another than in the header Authorization")
	}
	return nil
}
