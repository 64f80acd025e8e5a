package login

import (
	"net/url"
	"strings"
)

// The paths of the pages.
const (
	PathLogin    = "/login"
	PathCallback = "/login/callback"
	PathStyle    = "/login/style.css"
	PathLogout   = "/logout"
	// PathBackchannel is where the provider ends sessions.
	PathBackchannel = "/logout/backchannel"
	PathAccount     = "/account"
	PathEnd         = "/account/sessions"
	PathToken       = "/account/token"
)

// maxPath bounds the path that somebody comes back to.
const maxPath = 1024

// ownPath returns text if it is a path of this gateway, with a query if need be,
// and "" otherwise: what a browser could take for another host's address is none.
// Those that log in and out are none either.
func ownPath(text string) string {
	if len(text) > maxPath || !strings.HasPrefix(text, "/") || strings.HasPrefix(text, "//") {
		return ""
	}
	for _, r := range text {
		if r <= ' ' || r == '\\' || r >= 0x7f {
			return ""
		}
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Fragment != "" || !strings.HasPrefix(u.Path, "/") ||
		strings.HasPrefix(u.Path, "//") || strings.Contains(u.Path, "\\") {
		return ""
	}
	if u.Path == PathLogin || strings.HasPrefix(u.Path, PathLogin+"/") || u.Path == PathLogout {
		return ""
	}
	return text
}
