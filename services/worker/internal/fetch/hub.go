package fetch

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// hubFetcher reads from a server with Hugging Face's layout, which answers with
// the file, or with a redirect to where it is stored; the first answer tells its
// hash and size.
type hubFetcher struct {
	client *client
	cfg    Hub
}

func (f *hubFetcher) Open(ctx context.Context, r Request) (*Content, error) {
	base, err := url.Parse(f.cfg.Endpoint)
	if err != nil {
		return nil, permanent(nil, "the hub's endpoint is not a URL")
	}
	u := base.JoinPath(r.Ref.Repository, "resolve", r.Ref.Revision, r.Ref.Path)
	linked := int64(-1)
	content, err := f.client.open(ctx, exchange{
		url: u, redirects: f.cfg.RedirectHosts,
		authorise: func(req *http.Request) error {
			if f.cfg.Token != "" && takesSecrets(req.URL) {
				req.Header.Set("Authorization", "Bearer "+f.cfg.Token.Reveal())
			}
			return nil
		},
		seen: func(_ int, header http.Header) error {
			if n, ok := number(header.Get("X-Linked-Size")); ok {
				linked = n
			}
			return checkLinked(header.Get("X-Linked-Etag"), r.SHA256)
		},
	}, r)
	if err != nil {
		return nil, err
	}
	switch {
	case content.Size < 0:
		content.Size = linked
	case linked >= 0 && linked != content.Size:
		_ = content.Body.Close()
		return nil, permanent(nil, "the hub says that the file has %s bytes, and the store %s",
			strconv.FormatInt(linked, 10), strconv.FormatInt(content.Size, 10))
	}
	return content, nil
}

// checkLinked compares the hash that the hub tells of a large file. Small files
// have another kind of hash, which says nothing here.
func checkLinked(tag, want string) error {
	have := strings.Trim(strings.TrimPrefix(tag, "W/"), `"`)
	if regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(have) && want != "" && have != want {
		return permanent(nil, "the file at this revision has the SHA-256 %s, not %s", have, want)
	}
	return nil
}
