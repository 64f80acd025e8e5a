package login

import (
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/metrics"
	"github.com/poterne/poterne/services/edge/internal/oidc"
	"github.com/poterne/poterne/services/edge/internal/session"
)

// The outcomes of a login, for the metric and the log.
const (
	outcomeDone      = "done"
	outcomeMalformed = "malformed"
	outcomeNotBegun  = "not_begun"
	outcomeState     = "state"
	outcomeIssuer    = "issuer"
	outcomeDenied    = "denied_there"
	outcomeCode      = "code"
	outcomeIDToken   = "id_token"
	outcomeNobody    = "nobody"
	outcomeAway      = "provider_away"
	outcomeStore     = "store_away"
)

// begin sends the browser to the provider.
func (p *Pages) begin(w http.ResponseWriter, r *http.Request) error {
	returnTo, ok := single(r.URL.Query()["return_to"])
	if returnTo = ownPath(returnTo); !ok || returnTo == "" {
		returnTo = p.cfg.DefaultPath
	}
	before, _ := p.flows(r) // what is no cookie of ours is forgotten
	f, cookie, err := p.sealer.begin(returnTo, before, p.Clock.Now())
	if err != nil {
		return apierr.Wrap(apierr.Internal, err, "a login cannot be begun")
	}
	to, err := p.Provider.AuthorizationURL(r.Context(), p.request(f))
	if err != nil {
		p.Metrics.Login(r.Context(), outcomeAway)
		return err
	}
	audit.From(r.Context()).Omit() // nobody was let in or refused
	p.setCookie(w, flowCookie, cookie, int(flowTime/time.Second))
	redirect(w, to)
	return nil
}

// flows are the logins that the browser has under way.
func (p *Pages) flows(r *http.Request) ([]flow, error) {
	cookies := r.CookiesNamed(p.cfg.cookie(flowCookie))
	if len(cookies) != 1 {
		return nil, errFlow
	}
	return p.sealer.open(cookies[0].Value, p.Clock.Now())
}

// forget takes a login that is over out of the browser's cookie, and leaves the others.
func (p *Pages) forget(w http.ResponseWriter, others []flow) {
	if len(others) > 0 {
		if cookie, err := p.sealer.seal(others); err == nil {
			p.setCookie(w, flowCookie, cookie, int(flowTime/time.Second))
			return
		}
	}
	p.drop(w, flowCookie)
}

func (p *Pages) request(f flow) oidc.Request {
	return oidc.Request{State: f.State, Nonce: f.Nonce, Verifier: f.Verifier, RedirectURI: p.cfg.PublicURL + PathCallback}
}

// complete is where the browser comes back with the provider's answer.
func (p *Pages) complete(w http.ResponseWriter, r *http.Request) error {
	person, f, others, outcome, err := p.answer(r)
	if outcome != outcomeState {
		// It is over, whatever came of it. But what somebody else sends here must not
		// end a login that this browser has begun.
		p.forget(w, others)
	}
	if err != nil {
		p.Metrics.Login(r.Context(), outcome)
		p.Log.InfoContext(r.Context(), "a login failed", slog.String(metrics.KeyOutcome, outcome), telemetry.Err(err))
		return refusal(outcome, err)
	}
	entry := audit.From(r.Context())
	entry.SetCaller(person.Caller.Tenant, person.Caller.Subject)
	at := session.AtProvider{Subject: person.Subject, Session: person.Session}
	rec, secret, err := p.Sessions.Create(r.Context(), person.Caller, at, r.UserAgent(), p.Address(r))
	if err != nil {
		p.Metrics.Login(r.Context(), outcomeStore)
		return apierr.Wrap(apierr.Unavailable, err, "the store of sessions does not answer").WithRetryAfter(time.Second)
	}
	// The session before, if there was one, ends: its secret is never used on.
	if old, _, err := p.who(r); err == nil {
		_, err = p.Sessions.End(r.Context(), old.ID)
		if err != nil {
			p.Log.WarnContext(r.Context(), "the session before cannot be ended", slog.String(metrics.KeySession, old.ID), telemetry.Err(err))
		}
	}
	entry.SetResource("session/" + rec.ID)
	p.Metrics.Login(r.Context(), outcomeDone)
	p.Log.InfoContext(r.Context(), "somebody has logged in", slog.String(metrics.KeySession, rec.ID), slog.String(metrics.KeyTenant, rec.Tenant))
	p.setCookie(w, sessionCookie, secret.Reveal(), int(p.cfg.Session.Lifetime/time.Second))
	p.leave(w, f.ReturnTo)
	return nil
}

// answer judges the provider's answer, and returns who has logged in, by which login,
// and the browser's others.
func (p *Pages) answer(r *http.Request) (who oidc.Person, f flow, others []flow, outcome string, err error) {
	var parameters [4]string
	query := r.URL.Query()
	for i, name := range []string{"state", "code", "error", "iss"} {
		var ok bool
		if parameters[i], ok = single(query[name]); !ok {
			return who, f, nil, outcomeMalformed, errors.New("a parameter is there twice: " + name)
		}
	}
	state, code, failed, iss := parameters[0], parameters[1], parameters[2], parameters[3]
	all, err := p.flows(r)
	if err != nil {
		return who, f, nil, outcomeNotBegun, err
	}
	f, others, ok := ofState(all, state)
	if !ok {
		return who, f, nil, outcomeState, errors.New("the state is that of another login")
	}
	if err := p.Provider.CheckIssuer(r.Context(), iss); err != nil {
		return who, f, others, outcomeOf(err), err
	}
	if failed != "" {
		return who, f, others, outcomeDenied, errors.New(knownError(failed))
	}
	if code == "" {
		return who, f, others, outcomeMalformed, errors.New("there is no code")
	}
	person, err := p.Provider.Exchange(r.Context(), code, p.request(f))
	if err != nil {
		return who, f, others, outcomeOf(err), err
	}
	return person, f, others, outcomeDone, nil
}

func outcomeOf(err error) string {
	for _, o := range []struct {
		err     error
		outcome string
	}{
		{oidc.ErrAway, outcomeAway},
		{oidc.ErrForeignIssuer, outcomeIssuer},
		{oidc.ErrCode, outcomeCode},
		{oidc.ErrIDToken, outcomeIDToken},
		{oidc.ErrNobody, outcomeNobody},
	} {
		if errors.Is(err, o.err) {
			return o.outcome
		}
	}
	return outcomeAway // the request was not answered
}

// refusal is what the person is told. What exactly was wrong is in the log only.
func refusal(outcome string, err error) error {
	switch outcome {
	case outcomeAway:
		return apierr.Wrap(apierr.Unavailable, err, "the login provider cannot be reached now").WithRetryAfter(5 * time.Second)
	case outcomeDenied:
		return apierr.Wrap(apierr.PermissionDenied, err, "%s", denied(err.Error()))
	case outcomeNobody:
		return apierr.Wrap(apierr.PermissionDenied, err, "the login provider knows you, but you may not log in here: "+
			"ask who runs this gateway for a tenant that it accepts")
	case outcomeMalformed:
		return apierr.Wrap(apierr.InvalidArgument, err, "the login provider's answer cannot be read")
	case outcomeNotBegun, outcomeState:
		return apierr.Wrap(apierr.Unauthenticated, err, "this login was not begun in this browser, is over already, or took longer than 10 minutes")
	default:
		return apierr.Wrap(apierr.Unauthenticated, err, "the login provider's answer is not accepted")
	}
}

// denied says in words what a provider's error code means for the person.
func denied(code string) string {
	switch code {
	case "access_denied":
		return "the login was cancelled at the login provider, or it does not let you use this gateway"
	case "server_error", "temporarily_unavailable":
		return "the login provider has a problem of its own (" + code + "); try again later"
	default:
		return "the login provider did not let you in (" + code + ")"
	}
}
