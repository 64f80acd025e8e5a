package oidc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/jose"
)

const (
	// logoutEvent is the member of events that makes a token one that ends sessions.
	logoutEvent = "http://schemas.openid.net/event/backchannel-logout"
	// logoutTokenAge is how old such a token may be: providers send it at once.
	logoutTokenAge = 5 * time.Minute
	// maxNameBytes bounds what the provider calls a person, a login or a token (OpenID
	// Connect Core 1.0, section 2, says so of people).
	maxNameBytes = 255
)

// ErrLogoutToken is a logout token that is not what it must be.
var ErrLogoutToken = errors.New("the logout token is refused")

// Logout is what a provider says has ended: the login Session, or, without one, all
// of Subject's. Of both, one may be empty.
type Logout struct {
	Subject, Session string
	// ID names the token, and Until is how long it could be shown again.
	ID    string
	Until time.Time
}

// ReadLogout judges a logout token as OpenID Connect Back-Channel Logout 1.0, section
// 2.6, demands; an error wraps ErrLogoutToken or ErrAway. Whether the token was used
// before is for who keeps what was.
func (p *Provider) ReadLogout(ctx context.Context, token string) (Logout, error) {
	parsed, err := jose.Parse(token)
	if err != nil {
		return Logout{}, fmt.Errorf("%w: %w", ErrLogoutToken, err)
	}
	// Providers from before the type was recommended send that of an ID token: what the
	// token may not and must say tells the two apart.
	if _, err := p.issuer.verifyAs(ctx, parsed, []string{"logout+jwt", "application/logout+jwt", "JWT", ""}); err != nil {
		if apierr.ReasonOf(err) == apierr.Unavailable {
			return Logout{}, fmt.Errorf("%w: %w", ErrAway, err)
		}
		return Logout{}, fmt.Errorf("%w: no key of the provider has signed it, or by an algorithm or of a type that is not expected", ErrLogoutToken)
	}
	l, err := p.readLogout(parsed.Unverified(), p.clock.Now())
	if err != nil {
		return Logout{}, fmt.Errorf("%w: %w", ErrLogoutToken, err)
	}
	return l, nil
}

// readLogout judges what a token says that the provider has signed.
func (p *Provider) readLogout(payload []byte, now time.Time) (l Logout, err error) {
	c, err := jose.ParseClaims(payload)
	if err != nil {
		return l, err
	}
	expected := p.issuer.expected
	expected.MaxAge, expected.Required = logoutTokenAge, []string{"iat", "jti"}
	if err := c.Check(expected, now); err != nil {
		return l, err
	}
	if len(c.Audience) != 1 { // the one that Check has found is us
		return l, errors.New("it is meant for others too")
	}
	events, _ := c.All["events"].(map[string]any)
	if _, is := events[logoutEvent].(map[string]any); !is {
		return l, errors.New("it does not say that somebody is logged out (events)")
	}
	if _, has := c.All["nonce"]; has {
		return l, errors.New("it has a nonce, as ID tokens have")
	}
	if l.Session, err = sessionOf(c); err != nil {
		return l, err
	}
	l.Subject, l.ID = c.Subject, c.ID
	if l.Subject == "" && l.Session == "" {
		return l, errors.New("it names neither a person nor a login (sub, sid)")
	}
	if len(l.Subject) > maxNameBytes || len(l.ID) > maxNameBytes {
		return l, fmt.Errorf("a name in it is longer than %d bytes", maxNameBytes)
	}
	l.Until = earliest(c.Expires, c.IssuedAt.Add(logoutTokenAge)).Add(expected.Skew)
	return l, nil
}

// sessionOf returns what the provider calls a login; "" where it has not said.
func sessionOf(c jose.Claims) (string, error) {
	text, is := c.All["sid"].(string)
	if _, has := c.All["sid"]; has && (!is || text == "" || len(text) > maxNameBytes) {
		return "", fmt.Errorf("its sid is no text of 1 to %d bytes", maxNameBytes)
	}
	return text, nil
}
