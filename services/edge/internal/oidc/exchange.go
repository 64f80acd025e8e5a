package oidc

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/jose"
)

// The ways in which an answer of the provider is of no use. The texts of errors that
// wrap them say more, for the log, and hold no secret.
var (
	// ErrForeignIssuer is an answer that another provider may have sent (RFC 9207).
	ErrForeignIssuer = errors.New("the answer is not the provider's")
	// ErrCode is a code that the provider does not take, or not from us.
	ErrCode = errors.New("the provider does not take the code")
	// ErrIDToken is an ID token that is not what it must be.
	ErrIDToken = errors.New("the ID token is refused")
	// ErrNobody is a person whom the mapping, or the tenants allowed, leave out.
	ErrNobody = errors.New("the ID token's claims name nobody who may log in")
	// ErrAway is a provider that cannot be asked.
	ErrAway = errors.New("the provider cannot be asked")
)

func joined(scopes []string) string { return strings.Join(scopes, " ") }

// challenge is RFC 7636's S256.
func challenge(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// CheckIssuer judges the parameter iss of the provider's answer: "" where it has
// none.
func (p *Provider) CheckIssuer(ctx context.Context, iss string) error {
	if iss != "" {
		if iss != p.config.Issuer {
			return ErrForeignIssuer
		}
		return nil
	}
	e, err := p.endpoints(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrAway, err)
	}
	if e.NamesItself {
		return fmt.Errorf("%w: it has no iss", ErrForeignIssuer)
	}
	return nil
}

// Person is who has logged in, and what the provider calls the person and the login:
// the latter is empty where it has no name there.
type Person struct {
	Caller           identity.Caller
	Subject, Session string
}

// Exchange gives the code back and returns who has logged in.
func (p *Provider) Exchange(ctx context.Context, code string, r Request) (Person, error) {
	e, err := p.endpoints(ctx)
	if err != nil {
		return Person{}, fmt.Errorf("%w: %w", ErrAway, err)
	}
	answer, err := p.redeem(ctx, e, code, r)
	if err != nil {
		return Person{}, err
	}
	return p.judge(ctx, answer, r.Nonce)
}

// tokens is a token endpoint's answer.
type tokens struct {
	IDToken     string `json:"id_token"`
	AccessToken string `json:"access_token"`
	Error       string `json:"error"`
}

func (p *Provider) redeem(ctx context.Context, e endpoints, code string, r Request) (tokens, error) {
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {r.RedirectURI}, "code_verifier": {r.Verifier},
	}
	secret := p.config.ClientSecret.Reveal()
	// Where the provider does not say, it takes both in a header.
	basic := secret != "" && (len(e.AuthMethods) == 0 || slices.Contains(e.AuthMethods, "client_secret_basic"))
	if !basic {
		form.Set("client_id", p.config.ClientID)
		if secret != "" {
			form.Set("client_secret", secret)
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.Token, strings.NewReader(form.Encode()))
	if err != nil {
		return tokens{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	if basic {
		// Encoded as a form before, as RFC 6749 (section 2.3.1) has it.
		req.SetBasicAuth(url.QueryEscape(p.config.ClientID), url.QueryEscape(secret))
	}
	resp, err := p.http.Do(req)
	if err != nil {
		return tokens{}, fmt.Errorf("%w: %w", ErrAway, err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := bounded(resp.Body, maxAnswerBytes)
	var t tokens
	switch {
	case err != nil:
		return tokens{}, fmt.Errorf("%w: %w", ErrAway, err)
	case resp.StatusCode >= http.StatusInternalServerError || resp.StatusCode == http.StatusTooManyRequests:
		return tokens{}, fmt.Errorf("%w: it answers with status %d", ErrAway, resp.StatusCode)
	case json.Unmarshal(text, &t) != nil:
		return tokens{}, fmt.Errorf("%w: its answer, with status %d, is no JSON object, or has a member twice or of the wrong type", ErrCode, resp.StatusCode)
	case resp.StatusCode != http.StatusOK:
		return tokens{}, fmt.Errorf("%w: it answers with status %d and the error %.64q", ErrCode, resp.StatusCode, t.Error)
	}
	return t, nil
}

// judge checks the ID token as OpenID Connect Core 1.0, section 3.1.3.7, demands,
// and returns whom it speaks of.
func (p *Provider) judge(ctx context.Context, t tokens, nonce string) (Person, error) {
	parsed, err := jose.Parse(t.IDToken)
	if err != nil {
		return Person{}, fmt.Errorf("%w: %w", ErrIDToken, err)
	}
	if _, err := p.issuer.verify(ctx, parsed); err != nil {
		if apierr.ReasonOf(err) == apierr.Unavailable {
			return Person{}, fmt.Errorf("%w: %w", ErrAway, err)
		}
		return Person{}, fmt.Errorf("%w: no key of the provider has signed it, or by an algorithm that is not expected", ErrIDToken)
	}
	c, err := jose.ParseClaims(parsed.Unverified())
	if err != nil {
		return Person{}, fmt.Errorf("%w: %w", ErrIDToken, err)
	}
	if err := c.Check(p.issuer.expected, p.clock.Now()); err != nil {
		return Person{}, fmt.Errorf("%w: %w", ErrIDToken, err)
	}
	if err := p.own(c, parsed.Algorithm, t.AccessToken, nonce); err != nil {
		return Person{}, fmt.Errorf("%w: %w", ErrIDToken, err)
	}
	session, err := sessionOf(c)
	if err != nil {
		return Person{}, fmt.Errorf("%w: %w", ErrIDToken, err)
	}
	caller, err := p.issuer.mapping.caller(c.All)
	if err != nil || !p.issuer.tenants.include(caller.Tenant) {
		return Person{}, ErrNobody
	}
	return Person{Caller: caller, Subject: c.Subject, Session: session}, nil
}

// own reports whether an ID token is for us, and of this login.
func (p *Provider) own(c jose.Claims, a jose.Algorithm, accessToken, nonce string) error {
	if len(c.Audience) != 1 { // the one that Check has found is us
		return errors.New("it is meant for others too")
	}
	if azp, has := c.All["azp"]; has && azp != p.config.ClientID {
		return errors.New("it was issued to another client (azp)")
	}
	if text, _ := c.All["nonce"].(string); subtle.ConstantTimeCompare([]byte(text), []byte(nonce)) != 1 {
		return errors.New("it is of another login (nonce)")
	}
	if hash, has := c.All["at_hash"]; has && (accessToken == "" || hash != a.HalfHash(accessToken)) {
		return errors.New("it came with another access token (at_hash)")
	}
	return nil
}
