package fetch

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/poterne/poterne/pkg/clock"
)

// s3Fetcher reads from buckets of S3 and servers that speak like it.
type s3Fetcher struct {
	client  *client
	buckets map[string]Bucket
	clock   clock.Clock
}

const defaultRegion = "us-east-1"

func (f *s3Fetcher) Open(ctx context.Context, r Request) (*Content, error) {
	b, ok := f.buckets[r.Ref.Host]
	if !ok {
		b = f.buckets[defaultBucket]
	}
	if b.Region == "" {
		b.Region = defaultRegion
	}
	u, err := b.objectURL(r.Ref.Host, r.Ref.Path)
	if err != nil {
		return nil, err
	}
	s := signer{
		accessKeyID: b.AccessKeyID, secretAccessKey: b.SecretAccessKey.Reveal(), sessionToken: b.SessionToken.Reveal(),
		region: b.Region, service: "s3",
	}
	// A signature holds for one host: what redirects elsewhere is misconfigured.
	return f.client.open(ctx, exchange{url: u, stay: true, authorise: func(req *http.Request) error {
		if b.AccessKeyID != "" {
			s.sign(req, f.clock.Now())
		}
		return nil
	}}, r)
}

// objectURL is where the object is; each part of the key is encoded as the
// signature has it.
func (b Bucket) objectURL(bucket, key string) (*url.URL, error) {
	endpoint := b.Endpoint
	if endpoint == "" {
		endpoint = "https://s3." + b.Region + ".amazonaws.com"
	}
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil, permanent(nil, "the bucket's endpoint is not a URL")
	}
	base := strings.TrimRight(u.Path, "/")
	if b.VirtualHost {
		u.Host = bucket + "." + u.Host
	} else {
		base += "/" + bucket
	}
	u.Path = base + "/" + key
	u.RawPath = awsEscape(u.Path, true)
	return u, nil
}
