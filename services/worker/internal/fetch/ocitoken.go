package fetch

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/clock"
)

// authoriser adds credentials to a request.
type authoriser func(*http.Request) error

// tokens is what registries have given, until it expires.
type tokens struct {
	clock clock.Clock
	mu    sync.Mutex
	held  map[string]token // by registry and repository
}

type token struct {
	header  string
	expires time.Time
}

func newTokens(c clock.Clock) *tokens { return &tokens{clock: c, held: make(map[string]token)} }

// maxTokens bounds what is held; all of it can be asked for again.
const maxTokens = 1024

func (t *tokens) get(key string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if have, ok := t.held[key]; ok && t.clock.Now().Before(have.expires) {
		return have.header
	}
	return ""
}

func (t *tokens) put(key, header string, life time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.held) >= maxTokens {
		clear(t.held)
	}
	t.held[key] = token{header: header, expires: t.clock.Now().Add(life)}
}

// authorised runs call with what is held for the repository. When it is
// challenged, it asks for a token and runs call once more.
func (f *ociFetcher) authorised(ctx context.Context, ref Ref, call func(authoriser) (challenge string, err error)) error {
	key := ref.Host + "/" + ref.Repository
	with := func(header string) authoriser {
		return func(req *http.Request) error {
			if header != "" && takesSecrets(req.URL) {
				req.Header.Set("Authorization", header)
			}
			return nil
		}
	}
	challenge, err := call(with(f.tokens.get(key)))
	if err == nil || challenge == "" {
		return err
	}
	header, life, terr := f.answer(ctx, ref, challenge)
	if terr != nil {
		return terr
	}
	f.tokens.put(key, header, life)
	_, err = call(with(header))
	return err
}

const basicLife = time.Hour

// answer answers a challenge.
func (f *ociFetcher) answer(ctx context.Context, ref Ref, challenge string) (header string, life time.Duration, err error) {
	reg := f.registries[ref.Host]
	scheme, params := parseChallenge(challenge)
	switch scheme {
	case "basic":
		if reg.Username == "" {
			return "", 0, permanent(nil, "the registry wants a user name and a password")
		}
		req := &http.Request{Header: make(http.Header)}
		req.SetBasicAuth(reg.Username, reg.Password.Reveal())
		return req.Header.Get("Authorization"), basicLife, nil
	case "bearer":
		return f.bearer(ctx, ref, reg, params)
	default:
		return "", 0, permanent(nil, "the registry wants a kind of authentication that is not known")
	}
}

// bearer asks the server that the registry names for a token to read ref. Which
// server that may be is configured: a registry must not send the worker, and its
// password, anywhere.
func (f *ociFetcher) bearer(ctx context.Context, ref Ref, reg Registry, params map[string]string) (string, time.Duration, error) {
	u, err := url.Parse(params["realm"])
	if err != nil || u.Scheme != SchemeHTTPS && u.Scheme != SchemeHTTP || u.Host == "" || u.User != nil {
		return "", 0, permanent(nil, "the registry names no server that gives tokens")
	}
	own := strings.EqualFold(u.Host, ref.Host) || reg.AuthHost != "" && strings.EqualFold(u.Host, reg.AuthHost)
	if !own && !hostIn(u.Host, f.client.redirects) {
		return "", 0, permanent(nil, "the registry names %s as the server that gives tokens, which the configuration does not allow", clip(u.Host))
	}
	if u.Scheme == SchemeHTTP && !onThisMachine(u) && !reg.PlainHTTP {
		return "", 0, permanent(nil, "the registry names a server that gives tokens without TLS")
	}
	q := u.Query()
	if s := params["service"]; s != "" {
		q.Set("service", s)
	}
	q.Set("scope", "repository:"+ref.Repository+":pull") // ours, whatever it proposes
	u.RawQuery = q.Encode()
	const maxAnswer = 64 << 10
	data, err := f.client.small(ctx, exchange{url: u, stay: true, authorise: func(req *http.Request) error {
		if own && reg.Username != "" && takesSecrets(req.URL) {
			req.SetBasicAuth(reg.Username, reg.Password.Reveal())
		}
		return nil
	}}, maxAnswer)
	if err != nil {
		return "", 0, err
	}
	return readToken(data)
}

func readToken(data []byte) (string, time.Duration, error) {
	var answer struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
		ExpiresIn   int64  `json:"expires_in"` // seconds; 60 when not said
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return "", 0, permanent(nil, "the answer with the token cannot be read")
	}
	if answer.Token == "" {
		answer.Token = answer.AccessToken
	}
	if answer.Token == "" || strings.ContainsFunc(answer.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", 0, permanent(nil, "the answer holds no token")
	}
	const least, most, early = 60, 24 * 60 * 60, 10
	life := time.Duration(min(max(answer.ExpiresIn, least), most)-early) * time.Second
	return "Bearer " + answer.Token, life, nil
}

// parseChallenge reads `Scheme name="value",name=value`, the first challenge
// only. The scheme and the names come in lower case.
func parseChallenge(s string) (scheme string, params map[string]string) {
	const maxChallenge = 4096
	s = s[:min(len(s), maxChallenge)]
	scheme, rest, _ := strings.Cut(strings.TrimSpace(s), " ")
	params = make(map[string]string)
	for rest = strings.TrimLeft(rest, " ,\t"); rest != ""; rest = strings.TrimLeft(rest, " ,\t") {
		name, after, ok := strings.Cut(rest, "=")
		if !ok {
			break
		}
		var value string
		if strings.HasPrefix(after, `"`) {
			value, rest, ok = strings.Cut(after[1:], `"`)
			if !ok {
				break
			}
		} else if i := strings.IndexAny(after, ", \t"); i >= 0 {
			value, rest = after[:i], after[i:]
		} else {
			value, rest = after, ""
		}
		params[strings.ToLower(strings.TrimSpace(name))] = value
	}
	return strings.ToLower(scheme), params
}
