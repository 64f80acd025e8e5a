package oidc

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/poterne/poterne/pkg/jose"
	"github.com/poterne/poterne/pkg/plainhttp"
)

const (
	wellKnown = "/.well-known/openid-configuration"
	// maxConfigurationBytes bounds an issuer's configuration.
	maxConfigurationBytes = 256 << 10
	// fetchTime bounds one answer of an issuer.
	fetchTime = 5 * time.Second
)

// fetcher reads the keys of one issuer. Redirects are not followed: what an issuer
// publishes is where it says.
type fetcher struct {
	http   *http.Client
	issuer string
	keys   string // where its keys are; empty: where its configuration says
}

func newFetcher(transport http.RoundTripper, c IssuerConfig) *fetcher {
	return &fetcher{
		issuer: c.Issuer, keys: c.JWKSURL,
		http: client(transport),
	}
}

// client returns one that follows no redirects, and waits no longer than fetchTime.
func client(transport http.RoundTripper) *http.Client {
	return &http.Client{Transport: plainhttp.Transport(transport), Timeout: fetchTime, CheckRedirect: func(*http.Request, []*http.Request) error {
		return errors.New("redirects are not followed")
	}}
}

func (f *fetcher) fetch(ctx context.Context) (jose.KeySet, error) {
	at := f.keys
	if at == "" {
		var err error
		if at, err = f.discover(ctx); err != nil {
			return jose.KeySet{}, err
		}
	}
	text, err := f.get(ctx, at, jose.MaxKeySetBytes)
	if err != nil {
		return jose.KeySet{}, err
	}
	set, err := jose.ParseKeySet(text, jose.KeySetOptions{})
	if err == nil && set.Keys() == 0 {
		err = errors.New("key set: there is no key to verify by")
	}
	return set, err
}

// discover returns where the issuer's keys are.
func (f *fetcher) discover(ctx context.Context) (string, error) {
	var c struct {
		JWKSURI string `json:"jwks_uri"`
	}
	if err := f.configuration(ctx, &c); err != nil {
		return "", err
	}
	if !fetchable(c.JWKSURI) {
		return "", fmt.Errorf("its configuration has its keys where they are not read from, %.100q", c.JWKSURI)
	}
	return c.JWKSURI, nil
}

// configuration reads what the issuer says of itself into v (OpenID Connect
// Discovery 1.0, section 4). It must be its own.
func (f *fetcher) configuration(ctx context.Context, v any) error {
	text, err := f.get(ctx, strings.TrimSuffix(f.issuer, "/")+wellKnown, maxConfigurationBytes)
	if err != nil {
		return err
	}
	var c struct {
		Issuer string `json:"issuer"`
	}
	err = json.Unmarshal(text, &c)
	if err == nil {
		err = json.Unmarshal(text, v)
	}
	switch {
	case err != nil:
		return errors.New("its configuration is no JSON object, or has a member twice or of the wrong type")
	case c.Issuer != f.issuer:
		return fmt.Errorf("its configuration is that of another issuer, %.100q", c.Issuer)
	}
	return nil
}

func (f *fetcher) get(ctx context.Context, url string, most int64) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := f.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers with status %d", url, resp.StatusCode)
	}
	text, err := bounded(resp.Body, most)
	if err != nil {
		err = fmt.Errorf("%s: %w", url, err)
	}
	return text, err
}
