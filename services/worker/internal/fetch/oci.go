package fetch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"strings"

	"github.com/poterne/poterne/pkg/clock"
)

// ociFetcher reads layers from registries, as the OCI distribution
// specification says: https://github.com/opencontainers/distribution-spec
type ociFetcher struct {
	client     *client
	registries map[string]Registry
	tokens     *tokens
}

func newOCIFetcher(c *client, registries map[string]Registry, cl clock.Clock) *ociFetcher {
	return &ociFetcher{client: c, registries: registries, tokens: newTokens(cl)}
}

func (f *ociFetcher) Open(ctx context.Context, r Request) (*Content, error) {
	size := int64(-1)
	if r.Offset == 0 { // what was begun was found in the manifest before
		l, err := f.find(ctx, r)
		if err != nil {
			return nil, err
		}
		size = l.Size
	}
	var content *Content
	err := f.authorised(ctx, r.Ref, func(a authoriser) (challenge string, err error) {
		content, challenge, err = f.blob(ctx, r, a)
		return challenge, err
	})
	if err != nil {
		return nil, err
	}
	if content.Size < 0 {
		content.Size = size
	}
	return content, nil
}

func (f *ociFetcher) url(ref Ref, kind, name string) *url.URL {
	u := &url.URL{Scheme: SchemeHTTPS, Host: ref.Host, Path: "/v2/" + ref.Repository + "/" + kind + "/" + name}
	if onThisMachine(u) || f.registries[ref.Host].PlainHTTP {
		u.Scheme = SchemeHTTP
	}
	return u
}

func (f *ociFetcher) blob(ctx context.Context, r Request, a authoriser) (content *Content, challenge string, err error) {
	content, err = f.client.open(ctx, exchange{
		url: f.url(r.Ref, "blobs", "sha256:"+r.SHA256), authorise: a, seen: noteChallenge(&challenge),
	}, r)
	return content, challenge, err
}

func noteChallenge(into *string) func(int, http.Header) error {
	return func(status int, header http.Header) error {
		if status == http.StatusUnauthorized {
			*into = header.Get("WWW-Authenticate")
		}
		return nil
	}
}

// find returns the layer with the file. With a title or media type it is that
// layer, and must have the hash; otherwise it is the one that has it.
func (f *ociFetcher) find(ctx context.Context, r Request) (layer, error) {
	m, err := f.manifest(ctx, r.Ref, r.Ref.Revision)
	if err != nil {
		return layer{}, err
	}
	if len(m.Manifests) == 0 {
		return m.find(r)
	}
	var last error
	for _, sub := range m.Manifests {
		m, err := f.manifest(ctx, r.Ref, sub.Digest)
		if err != nil {
			return layer{}, err
		}
		l, err := m.find(r)
		if err == nil {
			return l, nil
		}
		last = err
	}
	return layer{}, last
}

func (f *ociFetcher) manifest(ctx context.Context, ref Ref, name string) (*manifest, error) {
	var data []byte
	err := f.authorised(ctx, ref, func(a authoriser) (challenge string, err error) {
		data, err = f.client.small(ctx, exchange{
			url: f.url(ref, "manifests", name), header: http.Header{"Accept": manifestTypes()},
			authorise: a, seen: noteChallenge(&challenge),
		}, maxManifest)
		return challenge, err
	})
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	if digest, ok := strings.CutPrefix(name, "sha256:"); ok && digest != hex.EncodeToString(sum[:]) {
		return nil, permanent(nil, "the manifest does not have the digest %s", name)
	}
	return parseManifest(data)
}
