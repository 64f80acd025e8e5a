package issue

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"

	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/edge/internal/authn"
	"github.com/poterne/poterne/services/edge/internal/middleware"
	"github.com/poterne/poterne/services/edge/internal/possession"
)

// TokenPath is where tokens are asked for.
const TokenPath = "/oauth2/token" //nolint:gosec // a path

// Door is what requests pass before they are answered.
type Door interface {
	Serve(ctx context.Context, e middleware.Endpoint, setHeader func(metadata.MD)) error
	Look(ctx context.Context) error
}

// Possession judges what a client proves to have.
type Possession interface {
	Verify(ctx context.Context, token string) (possession.Proof, error)
	Use(proof possession.Proof, owner string) error
	Certificate(ctx context.Context) string
}

// Endpoint answers requests for tokens, by the grant of client credentials (RFC
// 6749, section 4.4). It is safe for concurrent use.
type Endpoint struct {
	issuer     issuer
	keys       Keys
	door       Door
	possession Possession
}

// ServeHTTP answers in the words of RFC 6749, sections 5.1 and 5.2.
func (e *Endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	setHeader := func(md metadata.MD) {
		for name, values := range md {
			h[http.CanonicalHeaderKey(name)] = values
		}
	}
	var req request
	var out issued
	err := e.door.Serve(r.Context(), middleware.Endpoint{
		Name: TokenPath, Resource: "token",
		Authenticate: func(ctx context.Context) (p authn.Principal, err error) {
			if req, err = readRequest(r); err != nil {
				return p, err
			}
			return e.client(ctx, req)
		},
		Serve: func(ctx context.Context, p authn.Principal) (err error) {
			if req.grantType != "client_credentials" {
				return wrong(unsupportedGrant, "the grant_type must be client_credentials")
			}
			bound, err := e.bound(ctx, r, p, setHeader)
			if err != nil {
				return err
			}
			out, err = e.issuer.issue(ctx, p, req, bound)
			return err
		},
	}, setHeader)
	if err != nil {
		refuse(w, err)
		return
	}
	answer(w, http.StatusOK, out)
}

// client returns the holder of the key that the client shows.
func (e *Endpoint) client(ctx context.Context, r request) (authn.Principal, error) {
	if r.clientID == "" && r.secret == "" {
		return authn.Principal{}, refused(authn.Missing)
	}
	p, err := e.keys.Authenticate(ctx, r.secret)
	if err == nil && p.Caller.KeyID != r.clientID {
		err = refused(authn.Unknown)
	}
	if err != nil {
		return authn.Principal{}, err
	}
	return *p, nil
}

// bound returns what the token is bound to.
func (e *Endpoint) bound(ctx context.Context, r *http.Request, p authn.Principal, setHeader func(metadata.MD)) (c authn.Confirmation, err error) {
	if e.issuer.config.BindCertificates {
		c.Certificate = e.possession.Certificate(ctx)
	}
	if len(r.Header.Values("DPoP")) == 0 {
		return c, nil
	}
	proof, err := e.possession.Verify(ctx, "")
	if err == nil {
		err = e.possession.Use(proof, p.Caller.KeyID)
	}
	if err != nil {
		return c, err
	}
	if proof.Nonce != "" {
		setHeader(metadata.Pairs(possession.NonceHeader, proof.Nonce))
	}
	c.Key = proof.Key
	return c, nil
}

// refuse says why there is no token.
func refuse(w http.ResponseWriter, err error) {
	var mine *Error
	var credentials *authn.RefusedError
	switch {
	case errors.As(err, &mine):
		answer(w, http.StatusBadRequest, said(mine.Code, mine.Description))
	case errors.As(err, &credentials) && credentials.Code != "":
		if credentials.Nonce != "" {
			w.Header().Set(possession.NonceHeader, credentials.Nonce)
		}
		answer(w, http.StatusBadRequest, said(credentials.Code, "the DPoP proof is not accepted"))
	case errors.As(err, &credentials):
		w.Header().Set("WWW-Authenticate", `Basic realm="poterne"`)
		answer(w, http.StatusUnauthorized, said(invalidClient, "the client is not known: client_id is the id of an API key, and the secret its whole text"))
	default:
		unavailable(w, apierr.From(err))
	}
}

// unavailable answers for what is nobody's mistake. RFC 6749 has no words for it at
// this endpoint; these are those of its section 4.1.2.1.
func unavailable(w http.ResponseWriter, e *apierr.Error) {
	status, code := http.StatusInternalServerError, "server_error"
	switch e.Reason { //nolint:exhaustive // the others are ours
	case apierr.RateLimited:
		status, code = http.StatusTooManyRequests, "temporarily_unavailable"
	case apierr.Unavailable:
		status, code = http.StatusServiceUnavailable, "temporarily_unavailable"
	}
	if e.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(e.RetryAfter.Seconds()))))
	}
	description := e.Message
	if code == "server_error" {
		description = "something went wrong"
	}
	answer(w, status, said(code, description))
}

func said(code, description string) map[string]string {
	return map[string]string{"error": code, "error_description": description}
}

func answer(w http.ResponseWriter, status int, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		status, text = http.StatusInternalServerError, []byte(`{"error":"server_error"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n'))
}
