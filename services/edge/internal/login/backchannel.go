package login

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"mime"
	"net/http"
	"strconv"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/apierr/httperr"
	"github.com/poterne/poterne/pkg/jose"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/metrics"
	"github.com/poterne/poterne/services/edge/internal/oidc"
	"github.com/poterne/poterne/services/edge/internal/session"
)

// The outcomes of a logout that the provider asks for, besides those of a login.
const (
	outcomeToken = "token"
	outcomeUsed  = "used"
)

// maxLogoutFormBytes bounds what the provider sends.
const maxLogoutFormBytes = jose.MaxTokenBytes + 1<<10

// backchannel is where the provider ends sessions (OpenID Connect Back-Channel Logout
// 1.0, section 2.5). Only its token says who asks: no cookie comes with it.
func (p *Pages) backchannel(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	err := p.Guard.Page(r.Context(), methodEnded, func(ctx context.Context) error {
		outcome, err := p.endAtProvider(w, r.WithContext(ctx))
		p.Metrics.ProviderLogout(ctx, outcome)
		if err != nil {
			p.Log.InfoContext(ctx, "a logout token was refused", slog.String(metrics.KeyOutcome, outcome), telemetry.Err(err))
		}
		return err
	})
	if err != nil {
		p.refuseLogout(w, apierr.From(err))
		return
	}
	w.WriteHeader(http.StatusOK)
}

// endAtProvider ends what the token of a request says has ended.
func (p *Pages) endAtProvider(w http.ResponseWriter, r *http.Request) (outcome string, err error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" {
		return outcomeMalformed, apierr.New(apierr.InvalidArgument, "the logout token must be sent in a form: application/x-www-form-urlencoded")
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxLogoutFormBytes)
	if err := r.ParseForm(); err != nil {
		return outcomeMalformed, apierr.Wrap(apierr.InvalidArgument, err, "the form cannot be read, or is larger than %d bytes", maxLogoutFormBytes)
	}
	token, ok := single(r.PostForm["logout_token"])
	if !ok || token == "" {
		return outcomeMalformed, apierr.New(apierr.InvalidArgument, "the form must have one logout_token")
	}
	l, err := p.Provider.ReadLogout(r.Context(), token)
	switch {
	case errors.Is(err, oidc.ErrAway):
		return outcomeAway, apierr.Wrap(apierr.Unavailable, err, "the logout token cannot be judged now")
	case err != nil:
		return outcomeToken, apierr.Wrap(apierr.Unauthenticated, err, "the logout token is not accepted")
	}
	ended, err := p.Sessions.EndAtProvider(r.Context(), session.AtProvider{Subject: l.Subject, Session: l.Session}, l.ID, l.Until)
	switch {
	case errors.Is(err, session.ErrUsed):
		return outcomeUsed, apierr.Wrap(apierr.Unauthenticated, err, "the logout token is not accepted")
	case err != nil:
		return outcomeStore, storeAway(err)
	}
	p.noteEnded(r.Context(), ended)
	return outcomeDone, nil
}

// noteEnded has the trail say whose sessions have ended: those of one login, or of one
// person.
func (p *Pages) noteEnded(ctx context.Context, ended []session.Record) {
	entry := audit.From(ctx)
	p.Log.InfoContext(ctx, "the provider has ended sessions", slog.Int("ended", len(ended)))
	if len(ended) == 0 {
		entry.SetResource("session/none")
		return
	}
	first := ended[0]
	entry.SetCaller(first.Tenant, first.Subject)
	entry.SetResource("session/" + first.ID)
	if len(ended) > 1 {
		entry.SetResource("session/of " + first.Tenant + "/" + first.Subject)
	}
}

// refuseLogout answers in the words of OAuth's errors (section 2.8). What can be
// right another time is not called wrong.
func (p *Pages) refuseLogout(w http.ResponseWriter, e *apierr.Error) {
	status, code := http.StatusBadRequest, "invalid_request"
	switch e.Reason { //nolint:exhaustive // the others are the request's mistakes
	case apierr.Unavailable, apierr.Internal:
		status, code = e.HTTPStatus(), "temporarily_unavailable"
	case apierr.RateLimited:
		status, code = http.StatusTooManyRequests, "temporarily_unavailable"
	}
	if s := httperr.RetryAfterSeconds(e); s > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(s))
	}
	text, err := json.Marshal(map[string]string{"error": code, "error_description": e.Message})
	if err != nil {
		http.Error(w, e.Message, status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(text)
}
