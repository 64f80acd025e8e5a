package fetch

import (
	"net/url"
	"slices"
	"strings"
)

// policy is the prefixes of what may be fetched, without a slash at the end.
type policy []string

func newPolicy(allow []string) policy {
	var p policy
	for _, a := range allow {
		scheme, rest, _ := strings.Cut(a, "://")
		host, path, _ := strings.Cut(rest, "/")
		if scheme != SchemeHF { // organisations are told apart by letter case
			host = strings.ToLower(host)
		}
		p = append(p, strings.TrimRight(scheme+"://"+host+"/"+path, "/"))
	}
	return p
}

func (p policy) allows(ref Ref) bool {
	place := ref.place()
	return slices.ContainsFunc(p, func(prefix string) bool {
		rest, ok := strings.CutPrefix(place, prefix)
		// All of a scheme is written s3: by now.
		return ok && (rest == "" || strings.HasPrefix(rest, "/"))
	})
}

// allowsURL reports whether u, to which an allowed place redirected, is one too.
func (p policy) allowsURL(u *url.URL) bool {
	ref, err := Parse(u.String())
	return err == nil && p.allows(ref)
}

// hostIn reports whether host is one of list, in which `*.` stands for any
// subdomain.
func hostIn(host string, list []string) bool {
	host = strings.ToLower(host)
	return slices.ContainsFunc(list, func(allowed string) bool {
		if domain, ok := strings.CutPrefix(allowed, "*"); ok {
			return strings.HasSuffix(host, domain) && len(host) > len(domain)
		}
		return host == allowed
	})
}

// onThisMachine reports whether the host of u is a loopback address.
func onThisMachine(u *url.URL) bool { return isThisMachine(u.Hostname()) }

// takesSecrets reports whether credentials may be sent to u.
func takesSecrets(u *url.URL) bool { return u.Scheme == SchemeHTTPS || onThisMachine(u) }

func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Host, b.Host)
}
