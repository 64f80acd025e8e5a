package fetch

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// signer signs requests without a body as AWS's Signature Version 4 says:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
type signer struct {
	accessKeyID, secretAccessKey, sessionToken string
	region, service                            string
}

const (
	sigAlgorithm = "AWS4-HMAC-SHA256"
	sigTime      = "20060102T150405Z"
	// emptyHash is the SHA-256 of nothing, the body of every request here.
	emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

// sign adds the headers of a signature at the given time. The request's path
// must be encoded already as awsEscape does.
func (s signer) sign(req *http.Request, at time.Time) {
	stamp := at.UTC().Format(sigTime)
	req.Header.Set("X-Amz-Date", stamp)
	if s.service == "s3" {
		req.Header.Set("X-Amz-Content-Sha256", emptyHash)
	}
	if s.sessionToken != "" {
		req.Header.Set("X-Amz-Security-Token", s.sessionToken)
	}
	names, headers := signedHeaders(req)
	request := strings.Join([]string{
		req.Method, canonicalPath(req.URL), canonicalQuery(req.URL), headers, names, emptyHash,
	}, "\n")
	scope := strings.Join([]string{stamp[:8], s.region, s.service, "aws4_request"}, "/")
	text := strings.Join([]string{sigAlgorithm, stamp, scope, hexSum(request)}, "\n")
	key := []byte("AWS4" + s.secretAccessKey)
	for _, part := range []string{stamp[:8], s.region, s.service, "aws4_request"} {
		key = mac(key, part)
	}
	req.Header.Set("Authorization", sigAlgorithm+" Credential="+s.accessKeyID+"/"+scope+
		", SignedHeaders="+names+", Signature="+hex.EncodeToString(mac(key, text)))
}

func canonicalPath(u *url.URL) string {
	if p := u.EscapedPath(); p != "" {
		return p
	}
	return "/"
}

// signedHeaders returns the names and the lines of what is signed: the host,
// the range and what is Amazon's. Others may be changed on the way.
func signedHeaders(req *http.Request) (names, lines string) {
	host := req.Host
	if host == "" {
		host = req.URL.Host
	}
	values := map[string]string{"host": host}
	list := []string{"host"}
	for name, v := range req.Header {
		lower := strings.ToLower(name)
		if lower == "range" || strings.HasPrefix(lower, "x-amz-") {
			values[lower] = strings.Join(strings.Fields(strings.Join(v, ",")), " ")
			list = append(list, lower)
		}
	}
	slices.Sort(list)
	var b strings.Builder
	for _, name := range list {
		b.WriteString(name + ":" + values[name] + "\n")
	}
	return strings.Join(list, ";"), b.String()
}

func canonicalQuery(u *url.URL) string {
	var pairs []string
	for name, values := range u.Query() {
		for _, v := range values {
			pairs = append(pairs, awsEscape(name, false)+"="+awsEscape(v, false))
		}
	}
	slices.Sort(pairs)
	return strings.Join(pairs, "&")
}

// awsEscape encodes all but unreserved characters, and slashes if they are not
// kept.
func awsEscape(s string, keepSlash bool) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-._~", c) >= 0, c == '/' && keepSlash:
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		}
	}
	return b.String()
}

func hexSum(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
