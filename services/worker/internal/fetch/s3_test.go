package fetch

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/clock"
)

// fakeS3 is a server of one bucket. It checks signatures from the request as it
// arrived, by its own reading of the specification.
type fakeS3 struct {
	*testing.T
	bucket, key, secret, token string
	now                        time.Time
	objects                    map[string][]byte
	anonymous                  bool
}

func (s *fakeS3) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.anonymous && r.Header.Get("Authorization") != "" {
		s.Error("credentials were sent without being configured")
	}
	if !s.anonymous {
		if problem := s.check(r); problem != "" {
			http.Error(w, "<Error><Code>SignatureDoesNotMatch</Code><Message>"+problem+"</Message></Error>", http.StatusForbidden)
			return
		}
	}
	name, ok := strings.CutPrefix(r.URL.Path, "/"+s.bucket+"/")
	if host, _, virtual := strings.Cut(r.Host, "."); virtual && host == s.bucket {
		name, ok = strings.TrimPrefix(r.URL.Path, "/"), true
	}
	data, there := s.objects[name]
	if !ok || !there {
		http.Error(w, "<Error><Code>NoSuchKey</Code></Error>", http.StatusNotFound)
		return
	}
	file(data)(w, r)
}

func (s *fakeS3) check(r *http.Request) string {
	fields := make(map[string]string)
	rest, ok := strings.CutPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ")
	if !ok {
		return "no signature"
	}
	for part := range strings.SplitSeq(rest, ", ") {
		name, value, _ := strings.Cut(part, "=")
		fields[name] = value
	}
	credential := strings.Split(fields["Credential"], "/")
	stamp := r.Header.Get("X-Amz-Date")
	at, err := time.Parse("20060102T150405Z", stamp)
	switch {
	case len(credential) != 5 || credential[0] != s.key || credential[3] != "s3" || credential[4] != "aws4_request":
		return "another scope"
	case err != nil || at.Sub(s.now).Abs() > 15*time.Minute || credential[1] != stamp[:8]:
		return "another time"
	case r.Header.Get("X-Amz-Security-Token") != s.token:
		return "another session"
	}
	signed := strings.Split(fields["SignedHeaders"], ";")
	canonical := r.Method + "\n" + r.URL.EscapedPath() + "\n" + r.URL.RawQuery + "\n"
	must := map[string]bool{"host": true, "x-amz-date": true, "x-amz-content-sha256": true, "x-amz-security-token": s.token != ""}
	for _, name := range signed {
		value := r.Header.Get(name)
		if name == "host" {
			value = r.Host
		}
		canonical += name + ":" + value + "\n"
		must[name] = false
	}
	for name, missing := range must {
		if missing {
			return name + " is not signed"
		}
	}
	canonical += "\n" + fields["SignedHeaders"] + "\n" + r.Header.Get("X-Amz-Content-Sha256")
	digest := sha256.Sum256([]byte(canonical))
	text := "AWS4-HMAC-SHA256\n" + stamp + "\n" + strings.Join(credential[1:], "/") + "\n" + hex.EncodeToString(digest[:])
	key := []byte("AWS4" + s.secret)
	for _, part := range append(credential[1:], text) {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(part))
		key = h.Sum(nil)
	}
	if hex.EncodeToString(key) != fields["Signature"] {
		return "another signature"
	}
	return ""
}

func TestS3(t *testing.T) {
	data, sha := payload(50_000)
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	for name, tt := range map[string]struct {
		server fakeS3
		bucket Bucket
		other  bool // under the name default
	}{
		"signed":          {fakeS3{key: "AK", secret: "s3cret"}, Bucket{AccessKeyID: "AK", SecretAccessKey: "s3cret"}, false},
		"with a session":  {fakeS3{key: "AK", secret: "s3cret", token: "t0ken"}, Bucket{AccessKeyID: "AK", SecretAccessKey: "s3cret", SessionToken: "t0ken", Region: "eu-west-3"}, false},
		"anonymous":       {fakeS3{anonymous: true}, Bucket{}, true},
		"by the host":     {fakeS3{key: "AK", secret: "s3cret"}, Bucket{AccessKeyID: "AK", SecretAccessKey: "s3cret", VirtualHost: true}, false},
		"of all the rest": {fakeS3{key: "AK", secret: "s3cret"}, Bucket{AccessKeyID: "AK", SecretAccessKey: "s3cret"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := &tt.server
			s.T, s.bucket, s.now = t, "models", now
			s.objects = map[string][]byte{"llm/a b+c (é)$.gguf": data, "plain": data}
			u := serve(t, s.ServeHTTP)
			b := tt.bucket
			b.Endpoint = u.String()
			if b.VirtualHost {
				b.Endpoint = "http://localhost:" + u.Port()
			}
			cfg := testConfig("s3://models")
			cfg.S3 = map[string]Bucket{"models": b}
			if tt.other {
				cfg.S3 = map[string]Bucket{defaultBucket: b}
			}
			f := New(cfg, clock.NewFake(now))
			if b.VirtualHost { // models.localhost is this machine, but not for every resolver
				s3, ok := f.byScheme[SchemeS3].(*s3Fetcher)
				if !ok {
					t.Fatal("no fetcher for s3")
				}
				s3.client.http.Transport = &http.Transport{Proxy: func(*http.Request) (*url.URL, error) { return u, nil }}
			}
			checkGet(t, f, "s3://models/llm/a%20b+c%20(%C3%A9)$.gguf", data)
			_, _, err := get(t.Context(), f, Request{Ref: mustParse(t, "s3://models/none"), SHA256: sha})
			wantError(t, err, Permanent, "404")
		})
	}
}

func TestS3WithWrongKeys(t *testing.T) {
	data, sha := payload(100)
	s := &fakeS3{T: t, bucket: "models", key: "AK", secret: "right", now: time.Now(), objects: map[string][]byte{"k": data}}
	u := serve(t, s.ServeHTTP)
	cfg := testConfig("s3://models")
	cfg.S3 = map[string]Bucket{"models": {Endpoint: u.String(), AccessKeyID: "AK", SecretAccessKey: "wr0ng"}}
	_, _, err := get(t.Context(), New(cfg, realClock()), Request{Ref: mustParse(t, "s3://models/k"), SHA256: sha})
	wantError(t, err, Permanent, "403 Forbidden", "wr0ng")
	moved := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://127.0.0.1:1/models/k", http.StatusTemporaryRedirect)
	})
	cfg.S3 = map[string]Bucket{"models": {Endpoint: moved.String()}}
	cfg.RedirectHosts = []string{"127.0.0.1:1"}
	_, _, err = get(t.Context(), New(cfg, realClock()), Request{Ref: mustParse(t, "s3://models/k"), SHA256: sha})
	wantError(t, err, Permanent, "does not allow")
}

func TestS3Address(t *testing.T) {
	for want, b := range map[string]Bucket{
		"https://s3.eu-west-3.amazonaws.com/models/a%2Bb":       {Region: "eu-west-3"},
		"https://models.s3.us-east-1.amazonaws.com/a%2Bb":       {Region: "us-east-1", VirtualHost: true},
		"https://minio.example.com:9000/base/models/a%2Bb":      {Endpoint: "https://minio.example.com:9000/base/"},
		"https://models.minio.example.com:9000/base/path/a%2Bb": {Endpoint: "https://minio.example.com:9000/base/path", VirtualHost: true},
	} {
		if u, err := b.objectURL("models", "a+b"); err != nil || u.String() != want {
			t.Errorf("%v, %v, want %s", u, err, want)
		}
	}
}
