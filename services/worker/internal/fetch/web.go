package fetch

import (
	"context"
	"net/http"
	"net/url"
)

// webFetcher reads from web servers.
type webFetcher struct {
	client *client
	hosts  map[string]WebHost
	policy policy
}

func (f *webFetcher) Open(ctx context.Context, r Request) (*Content, error) {
	u := &url.URL{Scheme: r.Ref.Scheme, Host: r.Ref.Host, Path: "/" + r.Ref.Path, RawPath: r.Ref.rawPath, RawQuery: r.Ref.query}
	token := f.hosts[r.Ref.Host].Token
	return f.client.open(ctx, exchange{url: u, authorise: func(req *http.Request) error {
		// A redirect within the host may lead out of what is allowed there: an open one
		// must not have the token read for others.
		if token != "" && takesSecrets(req.URL) && f.policy.allowsURL(req.URL) {
			req.Header.Set("Authorization", "Bearer "+token.Reveal())
		}
		return nil
	}}, r)
}
