package possession

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/poterne/poterne/services/edge/internal/arrival"
	"github.com/poterne/poterne/services/edge/internal/clientaddr"
)

// target is what a proof must have been made for.
type target struct {
	method string
	url    string // normalised
	proofs []string
}

// target returns what the request of ctx is for. A call over gRPC is, as HTTP/2
// has it, a POST to /service/method at its authority.
func (c *Checker) target(ctx context.Context) (target, bool) {
	if r := arrival.From(ctx).Request; r != nil {
		scheme := "http"
		if r.TLS != nil {
			scheme = "https"
		}
		at := c.public(ctx, c.config.PublicURL, scheme, r.Host, r.Header)
		u, ok := normalise(at + r.URL.EscapedPath())
		return target{r.Method, u, r.Header.Values("DPoP")}, ok
	}
	method, ok := grpc.Method(ctx)
	if !ok {
		return target{}, false
	}
	md, _ := metadata.FromIncomingContext(ctx)
	scheme := "http"
	if p, ok := peer.FromContext(ctx); ok {
		if _, ok := p.AuthInfo.(credentials.TLSInfo); ok {
			scheme = "https"
		}
	}
	header := make(http.Header)
	for _, name := range []string{"Forwarded", "X-Forwarded-Proto", "X-Forwarded-Host"} {
		header[name] = md.Get(name)
	}
	at := c.public(ctx, c.config.PublicGRPCURL, scheme, strings.Join(md.Get(":authority"), ","), header)
	u, ok := normalise(at + method)
	return target{http.MethodPost, u, md.Get("dpop")}, ok
}

// public returns the URL before the path as the client has it.
func (c *Checker) public(ctx context.Context, configured, scheme, host string, header http.Header) string {
	if configured != "" {
		return strings.TrimSuffix(configured, "/")
	}
	if c.addresses.FromProxy(ctx) {
		proto, name := forwarded(header, c.addresses.Header())
		if proto != "" {
			scheme = proto
		}
		if name != "" {
			host = name
		}
	}
	return scheme + "://" + host
}

// forwarded returns what the nearest proxy says of the client's request: by
// Forwarded (RFC 7239) or by the older headers, whichever it writes. The other it
// may pass on as the client sent it.
func forwarded(header http.Header, by string) (proto, host string) {
	if by == clientaddr.Forwarded {
		for pair := range strings.SplitSeq(last(header.Values("Forwarded")), ";") {
			name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
			value = strings.Trim(value, `"`)
			switch strings.ToLower(name) {
			case "proto":
				proto = value
			case "host":
				host = value
			}
		}
		return proto, host
	}
	return last(header.Values("X-Forwarded-Proto")), last(header.Values("X-Forwarded-Host"))
}

// last returns the end of a list, where the nearest proxy wrote.
func last(values []string) string {
	all := strings.Join(values, ",")
	return strings.TrimSpace(all[strings.LastIndexByte(all, ',')+1:])
}

// normalise returns a URL in one form (RFC 3986, section 6.2), or false where it
// is none, or has what a proof's must not have: a query, a fragment, a user.
func normalise(text string) (string, bool) {
	if len(text) > maxURLBytes || strings.ContainsAny(text, "?#") {
		return "", false
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Opaque != "" {
		return "", false
	}
	scheme, host := strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	switch scheme {
	case "https":
		host = strings.TrimSuffix(host, ":443")
	case "http":
		host = strings.TrimSuffix(host, ":80")
	default:
		return "", false
	}
	if host = strings.TrimSuffix(host, ":"); host == "" {
		return "", false
	}
	return scheme + "://" + host + removeDots(normalPath(u.EscapedPath())), true
}

// normalPath has percent signs in one form: none where none is needed, digits in
// upper case elsewhere (sections 6.2.2.1 and 6.2.2.2).
func normalPath(path string) string {
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] != '%' || i+2 >= len(path) {
			b.WriteByte(path[i])
			continue
		}
		c := unhex(path[i+1])<<4 | unhex(path[i+2])
		if unreserved(c) {
			b.WriteByte(c)
		} else {
			b.WriteString(strings.ToUpper(path[i : i+3]))
		}
		i += 2
	}
	return b.String()
}

// unhex reads a digit; url.Parse has seen that it is one.
func unhex(c byte) byte {
	switch {
	case c >= 'a':
		return c - 'a' + 10
	case c >= 'A':
		return c - 'A' + 10
	default:
		return c - '0'
	}
}

func unreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

// removeDots takes the segments . and .. away (section 5.2.4).
func removeDots(path string) string {
	var out []string
	segments := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for i, s := range segments {
		final := i == len(segments)-1
		switch s {
		case ".", "..":
			if s == ".." && len(out) > 0 {
				out = out[:len(out)-1]
			}
			if final {
				out = append(out, "")
			}
		default:
			out = append(out, s)
		}
	}
	return "/" + strings.Join(out, "/")
}
