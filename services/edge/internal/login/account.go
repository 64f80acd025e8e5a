package login

import (
	"encoding/json"
	"mime"
	"net/http"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/authn"
	"github.com/poterne/poterne/services/edge/internal/session"
)

// maxFormBytes bounds a form that is sent.
const maxFormBytes = 8 << 10

// csrfField is the field of our forms that has what authn.CSRFHeader has elsewhere.
const csrfField = "csrf_token"

// account shows who is logged in, and the sessions.
func (p *Pages) account(w http.ResponseWriter, r *http.Request) error {
	rec, secret, err := p.who(r)
	if nobody(err) {
		audit.From(r.Context()).Omit()
		p.leave(w, PathLogin+"?return_to="+PathAccount)
		return nil
	}
	if err != nil {
		return err
	}
	found, err := p.Sessions.List(r.Context(), session.Filter{Tenant: rec.Tenant, Subject: rec.Subject, Limit: p.cfg.Session.MaxPerSubject})
	if err != nil {
		return storeAway(err)
	}
	audit.From(r.Context()).Omit() // people look at their own
	return p.render(w, http.StatusOK, view{Page: pageAccount, Session: &rec, Sessions: found, CSRFToken: secret.CSRFToken(), PublicURL: p.cfg.PublicURL})
}

// token tells this gateway's own pages what they ask for changes with.
func (p *Pages) token(w http.ResponseWriter, r *http.Request) error {
	_, secret, err := p.who(r)
	if err != nil {
		return told(err)
	}
	if !p.Accept.SameOrigin(r) {
		return authn.Error(&authn.RefusedError{Cause: authn.CrossSite})
	}
	audit.From(r.Context()).Omit()
	text, err := json.Marshal(map[string]string{csrfField: secret.CSRFToken()})
	if err != nil {
		return apierr.Wrap(apierr.Internal, err, "the answer cannot be written")
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(text)
	return nil
}

// change returns the session of a form of our own pages, and has the form read.
func (p *Pages) change(w http.ResponseWriter, r *http.Request) (session.Record, error) {
	rec, secret, err := p.who(r)
	if err != nil {
		return rec, told(err)
	}
	audit.From(r.Context()).SetCaller(rec.Tenant, rec.Subject)
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
		return rec, apierr.New(apierr.UnsupportedMediaType, "the form must be sent as application/x-www-form-urlencoded")
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxFormBytes)
	if err := r.ParseForm(); err != nil {
		return rec, apierr.Wrap(apierr.InvalidArgument, err, "the form cannot be read, or is larger than %d bytes", maxFormBytes)
	}
	if token, ok := single(r.PostForm[csrfField]); !ok || !p.Accept.SameOrigin(r) || !secret.CSRFMatches(token) {
		return rec, apierr.New(apierr.PermissionDenied, "this form was not sent by this gateway's own page; open the page again")
	}
	return rec, nil
}

// told is what somebody without a session is told.
func told(err error) error {
	if nobody(err) {
		return apierr.Wrap(apierr.Unauthenticated, err, "you are not signed in, or not any more")
	}
	return err
}

func storeAway(err error) error {
	return apierr.Wrap(apierr.Unavailable, err, "the store of sessions does not answer").WithRetryAfter(time.Second)
}

// end ends one of the own sessions, or all others.
func (p *Pages) end(w http.ResponseWriter, r *http.Request) error {
	rec, err := p.change(w, r)
	if err != nil {
		return err
	}
	id, ok := single(r.PostForm["id"])
	if !ok {
		return apierr.New(apierr.InvalidArgument, "the form names several sessions")
	}
	entry := audit.From(r.Context())
	if id == "" {
		entry.SetResource("session/of " + rec.Tenant + "/" + rec.Subject)
		if _, err := p.Sessions.EndAll(r.Context(), rec.Tenant, rec.Subject, rec.ID); err != nil {
			return storeAway(err)
		}
		p.leave(w, PathAccount)
		return nil
	}
	// One that has ended meanwhile, or is not theirs, is not there either way.
	if other, err := p.Sessions.Find(r.Context(), id); err == nil && other.Tenant == rec.Tenant && other.Subject == rec.Subject {
		entry.SetResource("session/" + other.ID)
		if _, err := p.Sessions.End(r.Context(), other.ID); err != nil {
			return storeAway(err)
		}
		if other.ID == rec.ID {
			p.drop(w, sessionCookie)
			p.leave(w, PathLogout)
			return nil
		}
	}
	p.leave(w, PathAccount)
	return nil
}

// askLogout shows the button that logs out; without a session, that nobody is
// logged in.
func (p *Pages) askLogout(w http.ResponseWriter, r *http.Request) error {
	rec, secret, err := p.who(r)
	audit.From(r.Context()).Omit()
	if nobody(err) {
		return p.render(w, http.StatusOK, view{Page: pageSignedOut})
	}
	if err != nil {
		return err
	}
	return p.render(w, http.StatusOK, view{Page: pageSignOut, Session: &rec, CSRFToken: secret.CSRFToken()})
}

// logout ends the session, here and, where the provider offers it, there.
func (p *Pages) logout(w http.ResponseWriter, r *http.Request) error {
	rec, err := p.change(w, r)
	if err != nil {
		if nobody(err) { // it has ended already
			audit.From(r.Context()).Omit()
			p.drop(w, sessionCookie)
			p.leave(w, PathLogout)
			return nil
		}
		return err
	}
	audit.From(r.Context()).SetResource("session/" + rec.ID)
	if _, err := p.Sessions.End(r.Context(), rec.ID); err != nil {
		return storeAway(err)
	}
	p.drop(w, sessionCookie)
	if to := p.Provider.LogoutURL(r.Context(), p.cfg.PublicURL+PathLogout); to != "" {
		redirect(w, to)
		return nil
	}
	p.leave(w, PathLogout)
	return nil
}
