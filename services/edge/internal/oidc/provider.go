package oidc

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/telemetry"
)

// idTokenAge is how old an ID token may be that a provider hands out now.
const idTokenAge = 10 * time.Minute

// askAgain is how long a provider that could not be reached is left in peace.
const askAgain = time.Second

// Provider logs people in by authorisation code with PKCE (OpenID Connect Core 1.0,
// section 3.1; RFC 7636). It is safe for concurrent use.
type Provider struct {
	config ProviderConfig
	issuer *issuer
	from   *fetcher
	http   *http.Client
	clock  clock.Clock
	log    *slog.Logger
	stop   context.CancelFunc

	reading sync.Mutex // held while the configuration is read: others wait for it
	mu      sync.Mutex
	known   *endpoints // nil: it was never read
	read    time.Time
	next    time.Time // before which the provider is not asked again
}

// endpoints is what a provider says of itself.
type endpoints struct {
	Authorization string   `json:"authorization_endpoint"`
	Token         string   `json:"token_endpoint"`
	EndSession    string   `json:"end_session_endpoint"`
	NamesItself   bool     `json:"authorization_response_iss_parameter_supported"` // RFC 9207
	AuthMethods   []string `json:"token_endpoint_auth_methods_supported"`
	Challenges    []string `json:"code_challenge_methods_supported"`
}

// NewProvider returns the provider of c, which must be complete. It is asked for
// nothing before somebody logs in. Close ends what it reads in the background.
func NewProvider(c ProviderConfig, o Options) (*Provider, error) {
	a, err := New(Config{CacheSize: 1, Issuers: []IssuerConfig{c.trusted()}}, o)
	if err != nil {
		return nil, err
	}
	return &Provider{
		config: c, issuer: a.issuers[c.Issuer], from: newFetcher(o.Transport, c.trusted()), http: client(o.Transport),
		clock: o.Clock, log: o.Logger, stop: func() { _ = a.Close() },
	}, nil
}

// Close ends the readings under way, and waits for them.
func (p *Provider) Close() error {
	p.stop()
	return nil
}

// endpoints returns what the provider says of itself; while it is away, what it
// said before.
func (p *Provider) endpoints(ctx context.Context) (endpoints, error) {
	if p.due() {
		p.reading.Lock()
		if p.due() { // nobody has read it meanwhile
			p.readConfiguration(ctx)
		}
		p.reading.Unlock()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known == nil || !p.clock.Now().Before(p.read.Add(p.issuer.config.KeepFor)) {
		return endpoints{}, apierr.New(apierr.Unavailable, "the login provider cannot be reached now").WithRetryAfter(retryAfter)
	}
	return *p.known, nil
}

// due reports whether the configuration is old, and the provider may be asked.
func (p *Provider) due() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.clock.Now()
	return (p.known == nil || !now.Before(p.read.Add(p.issuer.config.RefreshEvery))) && !now.Before(p.next)
}

func (p *Provider) readConfiguration(ctx context.Context) {
	var e endpoints
	// Not of one request's context: others wait for it.
	err := p.from.configuration(context.WithoutCancel(ctx), &e)
	if err == nil {
		err = e.check()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		p.known, p.read = &e, p.clock.Now()
		return
	}
	p.next = p.clock.Now().Add(askAgain)
	p.log.WarnContext(ctx, "the login provider's configuration cannot be read", slog.String("issuer", p.config.Issuer),
		slog.Bool("known", p.known != nil), telemetry.Err(err))
}

func (e endpoints) check() error {
	for name, text := range map[string]string{"authorization_endpoint": e.Authorization, "token_endpoint": e.Token} {
		if !reachable(text) {
			return fmt.Errorf("its configuration has a %s that is no https URL, %.100q", name, text)
		}
	}
	if e.EndSession != "" && !reachable(e.EndSession) {
		return fmt.Errorf("its configuration has an end_session_endpoint that is no https URL, %.100q", e.EndSession)
	}
	if len(e.Challenges) > 0 && !slices.Contains(e.Challenges, "S256") {
		return fmt.Errorf("it does not support the code challenge method S256")
	}
	return nil
}

// reachable is fetchable for an endpoint, which may have a query (RFC 6749,
// section 3.1).
func reachable(text string) bool {
	u, err := url.Parse(text)
	if err != nil {
		return false
	}
	u.RawQuery = ""
	return fetchable(u.String())
}

// Request is what one login begins with: three texts that cannot be guessed.
type Request struct {
	State, Nonce string
	// Verifier is PKCE's; only its SHA-256 goes with the request.
	Verifier string
	// RedirectURI is where the answer comes.
	RedirectURI string
}

// AuthorizationURL returns where the browser is sent to log in.
func (p *Provider) AuthorizationURL(ctx context.Context, r Request) (string, error) {
	e, err := p.endpoints(ctx)
	if err != nil {
		return "", err
	}
	return withQuery(e.Authorization, url.Values{
		"response_type": {"code"}, "client_id": {p.config.ClientID}, "redirect_uri": {r.RedirectURI}, "scope": {joined(p.config.Scopes)},
		"state": {r.State}, "nonce": {r.Nonce}, "code_challenge": {challenge(r.Verifier)}, "code_challenge_method": {"S256"},
	}), nil
}

// LogoutURL returns where the browser is sent to log out at the provider too
// (OpenID Connect RP-Initiated Logout 1.0), from where it comes back to returnTo;
// "" when the provider does not offer it, or cannot be asked.
func (p *Provider) LogoutURL(ctx context.Context, returnTo string) string {
	e, err := p.endpoints(ctx)
	if err != nil || e.EndSession == "" {
		return ""
	}
	return withQuery(e.EndSession, url.Values{"client_id": {p.config.ClientID}, "post_logout_redirect_uri": {returnTo}})
}

// LogoutOrigins are the origins that logging out may lead to, as far as is known.
func (p *Provider) LogoutOrigins() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := []string{originOf(p.config.Issuer)}
	if p.known != nil && p.known.EndSession != "" && originOf(p.known.EndSession) != out[0] {
		out = append(out, originOf(p.known.EndSession))
	}
	return out
}

func originOf(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "'none'" // it was checked before
	}
	return u.Scheme + "://" + u.Host
}

// withQuery adds to the query that an endpoint has already.
func withQuery(endpoint string, values url.Values) string {
	u, err := url.Parse(endpoint)
	if err != nil {
		return endpoint // it was checked before
	}
	if u.RawQuery != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += values.Encode()
	return u.String()
}
