package detect

import (
	"hash/crc32"
	"strings"
)

// The kinds of secrets.
const (
	PrivateKey  Kind = "secret/private-key"
	JWT         Kind = "secret/jwt"
	URLPassword Kind = "secret/url-password"
	Password    Kind = "secret/password"
)

const (
	base62    = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	base64url = base62 + "-_"
)

// token finds secrets that their issuer gives a beginning of their own, so that
// they are found.
type token struct {
	kind   Kind
	prefix string
	// digits are what follows, from min to max of them.
	digits   *set
	min, max int
	// check looks at the whole text, where it has a checksum; nil: it has none.
	check func(text string) bool
}

// tokens lists them; the forms are those that their issuers document.
func tokens() []Detector {
	out := []Detector{
		token{kind: "secret/poterne-key", prefix: "ptn_", digits: setOf(base62 + "_"), min: 66, max: 66, check: poterneSum},
		token{kind: "secret/aws-access-key", prefix: "AKIA", digits: setOf("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"), min: 16, max: 16},
		token{kind: "secret/aws-access-key", prefix: "ASIA", digits: setOf("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"), min: 16, max: 16},
		token{kind: "secret/github-token", prefix: "github_pat_", digits: setOf(base62 + "_"), min: 82, max: 82},
		token{kind: "secret/gitlab-token", prefix: "glpat-", digits: setOf(base64url), min: 20, max: 64},
		token{kind: "secret/google-key", prefix: "AIza", digits: setOf(base64url), min: 35, max: 35},
		token{kind: "secret/google-token", prefix: "ya29.", digits: setOf(base64url), min: 30, max: 2048},
		token{kind: "secret/anthropic-key", prefix: "sk-ant-", digits: setOf(base64url), min: 32, max: 160},
		token{kind: "secret/openai-key", prefix: "sk-proj-", digits: setOf(base64url), min: 40, max: 200},
		token{kind: "secret/openai-key", prefix: "sk-svcacct-", digits: setOf(base64url), min: 40, max: 200},
		token{kind: "secret/openai-key", prefix: "sk-", digits: setOf(base62), min: 40, max: 64},
		token{kind: "secret/huggingface-token", prefix: "hf_", digits: setOf(base62), min: 30, max: 40},
		token{kind: "secret/npm-token", prefix: "npm_", digits: setOf(base62), min: 36, max: 36, check: sixDigitSum},
		token{kind: "secret/pypi-token", prefix: "pypi-", digits: setOf(base64url), min: 60, max: 512},
		token{kind: "secret/slack-token", prefix: "xoxb-", digits: setOf(base62 + "-"), min: 20, max: 128},
		token{kind: "secret/slack-token", prefix: "xoxp-", digits: setOf(base62 + "-"), min: 20, max: 128},
		token{kind: "secret/slack-token", prefix: "xoxa-", digits: setOf(base62 + "-"), min: 20, max: 128},
		token{kind: "secret/slack-token", prefix: "xapp-", digits: setOf(base62 + "-"), min: 20, max: 160},
		token{kind: "secret/stripe-key", prefix: "sk_live_", digits: setOf(base62), min: 16, max: 128},
		token{kind: "secret/stripe-key", prefix: "rk_live_", digits: setOf(base62), min: 16, max: 128},
		token{kind: "secret/sendgrid-key", prefix: "SG.", digits: setOf(base64url + "."), min: 66, max: 66},
		token{kind: "secret/digitalocean-token", prefix: "dop_v1_", digits: setOf("0123456789abcdef"), min: 64, max: 64},
		token{kind: "secret/vault-token", prefix: "hvs.", digits: setOf(base64url), min: 24, max: 256},
	}
	for _, p := range []string{"ghp_", "gho_", "ghu_", "ghs_", "ghr_"} {
		out = append(out, token{kind: "secret/github-token", prefix: p, digits: setOf(base62), min: 36, max: 36, check: sixDigitSum})
	}
	return out
}

func (t token) Kinds() []Kind { return []Kind{t.kind} }

func (t token) Starts(b byte) bool { return b == t.prefix[0] }

func (t token) Match(text string, whole bool) (Kind, int, Verdict) {
	if v := prefixed(text, t.prefix, whole); v != Yes {
		return "", 0, v
	}
	at := len(t.prefix)
	n, more := t.digits.while(text[at:], whole, t.max+1)
	switch {
	case more:
		return "", 0, More
	case n < t.min || n > t.max:
		return "", 0, No
	case t.check != nil && !t.check(text[:at+n]):
		return "", 0, No
	}
	return t.kind, at + n, Yes
}

// sixDigitSum checks the last six digits, which are the CRC-32 of what stands
// between the prefix and them, as GitHub and npm make them.
func sixDigitSum(text string) bool {
	_, body, _ := strings.Cut(text, "_")
	return sumOf(body[:len(body)-6]) == body[len(body)-6:]
}

// poterneSum does the same for this gateway's own keys, whose sum is over all.
func poterneSum(text string) bool { return sumOf(text[:len(text)-6]) == text[len(text)-6:] }

func sumOf(text string) string {
	n := crc32.ChecksumIEEE([]byte(text))
	out := []byte("000000")
	for i := len(out) - 1; i >= 0; i-- {
		out[i] = base62[n%62]
		n /= 62
	}
	return string(out)
}

// jwt finds signed tokens (RFC 7519): two JSON objects and a signature.
type jwt struct{ part *set }

func newJWT() jwt { return jwt{part: setOf(base64url)} }

const (
	maxJWTPart = 4096
	minJWTPart = 8
	jsonBegin  = "eyJ" // {" in base64
)

func (jwt) Kinds() []Kind { return []Kind{JWT} }

func (jwt) Starts(b byte) bool { return b == jsonBegin[0] }

func (j jwt) Match(text string, whole bool) (Kind, int, Verdict) {
	at := 0
	for part := range 3 {
		if part < 2 {
			if v := prefixed(text[at:], jsonBegin, whole); v != Yes {
				return "", 0, v
			}
		}
		n, more := j.part.while(text[at:], whole, maxJWTPart)
		if more {
			return "", 0, More
		}
		if at += n; n < minJWTPart || part < 2 && (at == len(text) || text[at] != '.') {
			return "", 0, No
		}
		if part < 2 {
			at++
		}
	}
	return JWT, at, Yes
}
