package edge_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/devca"
	"github.com/poterne/poterne/pkg/tlsfiles"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge"
)

// certified is a directory with a certificate, and the authority it is of.
type certified struct {
	ca             *devca.Authority
	dir, cert, key string
}

func certify(t *testing.T, changes ...devca.Change) certified {
	t.Helper()
	ca, err := devca.New("the edge's authority")
	if err != nil {
		t.Fatal(err)
	}
	c := certified{ca: ca, dir: t.TempDir()}
	c.cert, c.key = filepath.Join(c.dir, devca.CertFile), filepath.Join(c.dir, devca.KeyFile)
	c.again(t, changes...)
	return c
}

func (c certified) again(t *testing.T, changes ...devca.Change) {
	t.Helper()
	if err := c.ca.WriteFiles(c.dir, nil, changes...); err != nil {
		t.Fatal(err)
	}
}

func (c certified) pair(t *testing.T, ids ...string) []tls.Certificate {
	t.Helper()
	cert, key, err := c.ca.Issue(ids)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return []tls.Certificate{pair}
}

// httpClient speaks only the version.
func httpClient(t *testing.T, version string, cfg *tls.Config) *http.Client {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(version == "HTTP/1.1")
	protocols.SetHTTP2(version == "HTTP/2.0")
	transport := &http.Transport{Protocols: protocols, TLSClientConfig: cfg}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func (g *gate) chatOver(c *http.Client, url string) (*http.Response, error) {
	g.t.Helper()
	req, err := http.NewRequestWithContext(g.t.Context(), http.MethodPost, url+"/v1/chat/completions", strings.NewReader(chatBody))
	if err != nil {
		g.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+g.key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.Do(req)
	if err == nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	return resp, err
}

// A client's certificate reaches what decides about a request, whichever way the
// request came; one of another authority does not get in.
func TestClientCertificates(t *testing.T) {
	server, clients, others := certify(t), certify(t), certify(t)
	for _, auth := range []string{"none", "request", "require"} {
		t.Run(auth, func(t *testing.T) {
			g := open(t, func(c *edge.Config) {
				onFreePorts(c)
				c.HTTP.TLS.CertFile, c.HTTP.TLS.KeyFile, c.HTTP.TLS.ClientAuth = server.cert, server.key, auth
				c.GRPC.TLS.Mode = auth
				if auth == "none" {
					c.GRPC.TLS.Mode = tlsfiles.ModeServer
				} else {
					c.HTTP.TLS.ClientCAFile = filepath.Join(clients.dir, devca.CAFile)
					c.GRPC.TLS.CAFile = c.HTTP.TLS.ClientCAFile
				}
			})
			ports, _ := g.serve()
			over := map[string]func(*tls.Config) error{
				"HTTP/1.1": func(c *tls.Config) error {
					_, err := g.chatOver(httpClient(t, "HTTP/1.1", c), "https://"+ports.HTTP.Addr().String())
					return err
				},
				"HTTP/2.0": func(c *tls.Config) error {
					resp, err := g.chatOver(httpClient(t, "HTTP/2.0", c), "https://"+ports.HTTP.Addr().String())
					if err == nil && resp.Proto != "HTTP/2.0" {
						t.Errorf("the answer is %s", resp.Proto)
					}
					return err
				},
				"gRPC": func(c *tls.Config) error { return chatOverGRPC(t, ports, g.key, credentials.NewTLS(c)) },
			}
			for way, call := range over {
				for name, tt := range map[string]struct {
					show []tls.Certificate
					let  bool
					seen bool
				}{
					"with a certificate":   {clients.pair(t, "spiffe://x/y"), true, auth != "none"},
					"without":              {nil, auth != "require", false},
					"of another authority": {others.pair(t), auth == "none", false},
				} {
					cfg := &tls.Config{RootCAs: server.ca.Pool(), MinVersion: tls.VersionTLS13}
					if tt.show != nil { // whatever authorities the server names
						cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &tt.show[0], nil }
					}
					if err := call(cfg); (err == nil) != tt.let {
						t.Errorf("%s %s: %v", way, name, err)
						continue
					}
					cert := g.inference.lastArrival().Certificate
					if tt.let && (cert != nil) != tt.seen {
						t.Errorf("%s %s: seen %v", way, name, cert)
					}
					if tt.let && tt.seen && !cert.Equal(leafOf(t, tt.show)) {
						t.Errorf("%s %s: another certificate was seen", way, name)
					}
				}
			}
		})
	}
}

func leafOf(t *testing.T, pair []tls.Certificate) *x509.Certificate {
	t.Helper()
	leaf, err := x509.ParseCertificate(pair[0].Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

func chatOverGRPC(t *testing.T, ports *edge.Ports, key string, creds credentials.TransportCredentials) error {
	t.Helper()
	conn, err := grpc.NewClient(ports.GRPC.Addr().String(), grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+key)
	_, err = edgev1.NewOpenAIServiceClient(conn).CreateChatCompletion(ctx, &edgev1.CreateChatCompletionRequest{
		Model: "small", Messages: []*edgev1.ChatMessage{{
			Role: "user", Content: &edgev1.MessageContent{Content: &edgev1.MessageContent_Text{Text: "Hi"}},
		}},
	})
	return err
}

func TestHTTPSPort(t *testing.T) {
	first, second := certify(t), certify(t, func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = []string{"second.example"}, nil })
	g := open(t, func(c *edge.Config) {
		onFreePorts(c)
		c.HTTP.TLS.CertFile, c.HTTP.TLS.KeyFile, c.HTTP.TLS.RedirectAddr = first.cert, first.key, "127.0.0.1:0"
		c.HTTP.TLS.Certificates = append(c.HTTP.TLS.Certificates, edge.CertificateFiles{CertFile: second.cert, KeyFile: second.key})
	})
	ports, _ := g.serve()
	url := "https://" + ports.HTTP.Addr().String()
	roots := first.ca.Pool()
	roots.AppendCertsFromPEM(second.ca.PEM())

	for name, version := range map[string]uint16{"1.2": tls.VersionTLS12, "1.1": tls.VersionTLS11} {
		if _, err := g.chatOver(httpClient(t, "HTTP/1.1", &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS10, MaxVersion: version}), url); err == nil {
			t.Errorf("TLS %s is spoken", name)
		}
	}
	for host, want := range map[string]certified{"second.example": second, "localhost": first, "nobody.example": first} {
		conn, err := (&tls.Dialer{Config: &tls.Config{ServerName: host, InsecureSkipVerify: true}}).DialContext(t.Context(), "tcp", ports.HTTP.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		leaf := conn.(*tls.Conn).ConnectionState().PeerCertificates[0] //nolint:errcheck // it is one
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: want.ca.Pool()}); err != nil {
			t.Errorf("%s is shown another certificate: %v", host, err)
		}
		_ = conn.Close()
	}

	// The certificate is replaced while requests run: the next connection has it.
	client := httpClient(t, "HTTP/2.0", &tls.Config{RootCAs: roots})
	resp, err := g.chatOver(client, url)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("chat: %v, %v", resp, err)
	}
	before := resp.TLS.PeerCertificates[0]
	first.again(t)
	for end := time.Now().Add(10 * time.Second); ; <-time.After(50 * time.Millisecond) {
		resp, err := g.chatOver(httpClient(t, "HTTP/1.1", &tls.Config{RootCAs: roots}), url)
		if err != nil {
			t.Fatal(err)
		}
		if !resp.TLS.PeerCertificates[0].Equal(before) {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the new certificate is not shown")
		}
	}
	if resp, err := g.chatOver(client, url); err != nil || !resp.TLS.PeerCertificates[0].Equal(before) {
		t.Errorf("the connection that was open: %v", err)
	}
	redirects(t, "http://"+ports.Redirect.Addr().String(), url)
}

func redirects(t *testing.T, from, to string) {
	t.Helper()
	client := httpClient(t, "HTTP/1.1", nil)
	for name, tt := range map[string]struct {
		method, path, host, want string
		status                   int
	}{
		"GET":         {http.MethodGet, "/v1/models?a=b%20c", "", to + "/v1/models?a=b%20c", 308},
		"POST":        {http.MethodPost, "/v1/chat/completions", "", to + "/v1/chat/completions", 308},
		"two slashes": {http.MethodGet, "//evil.example/", "", to + "//evil.example/", 308},
		"bad host":    {http.MethodGet, "/", "evil.example/?", "", 400},
		"host user":   {http.MethodGet, "/", "a@evil.example", "", 400},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tt.method, from+tt.path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = tt.host
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != tt.status || resp.Header.Get("Location") != tt.want {
			t.Errorf("%s: %d to %q, want %q", name, resp.StatusCode, resp.Header.Get("Location"), tt.want)
		}
		if resp.Header.Get("Strict-Transport-Security") != "" {
			t.Errorf("%s: HSTS in the clear", name)
		}
	}
}

// Every answer says what it is not for: also those that no handler gave.
func TestSecurityHeaders(t *testing.T) {
	server := certify(t)
	g := open(t, func(c *edge.Config) {
		onFreePorts(c)
		c.HTTP.TLS.CertFile, c.HTTP.TLS.KeyFile = server.cert, server.key
		c.HTTP.CORS.Origins = []string{"https://app.example"}
	})
	ports, _ := g.serve()
	client := httpClient(t, "HTTP/2.0", &tls.Config{RootCAs: server.ca.Pool()})
	for _, tt := range []struct{ method, path string }{
		{http.MethodGet, "/v1/models"},
		{http.MethodGet, "/nowhere"},
		{http.MethodPut, "/v1/models"},
		{http.MethodOptions, "/v1/models"},
		{http.MethodGet, "/"},
		{http.MethodGet, "/openapi.json"},
		{http.MethodGet, "/docs/"},
		{http.MethodGet, "/docs/nowhere.js"},
		{http.MethodPost, "/v1/chat/completions"},
	} {
		for _, base := range []string{g.url, "https://" + ports.HTTP.Addr().String()} {
			req, err := http.NewRequestWithContext(t.Context(), tt.method, base+tt.path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Origin", "https://app.example")
			req.Header.Set("Access-Control-Request-Method", "GET")
			resp, err := client.Do(req)
			if strings.HasPrefix(base, "http://") {
				resp, err = httpClient(t, "HTTP/1.1", nil).Do(req)
			}
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			h := resp.Header
			if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("X-Frame-Options") != "DENY" || h.Get("Referrer-Policy") != "no-referrer" ||
				h.Get("Cross-Origin-Resource-Policy") != "same-origin" || !strings.Contains(h.Get("Content-Security-Policy"), "frame-ancestors 'none'") {
				t.Errorf("%s %s: %v", tt.method, base+tt.path, h)
			}
			if strings.HasPrefix(tt.path, "/docs/") == strings.Contains(h.Get("Content-Security-Policy"), "default-src 'none'") {
				t.Errorf("%s %s: %s", tt.method, base+tt.path, h.Get("Content-Security-Policy"))
			}
			if (h.Get("Strict-Transport-Security") == "max-age=31536000") != strings.HasPrefix(base, "https") {
				t.Errorf("%s %s: HSTS %q", tt.method, base+tt.path, h.Get("Strict-Transport-Security"))
			}
		}
	}
}

func TestConfigTLS(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		want []string
	}{
		"half a pair":       {`http: {tls: {cert_file: a}}`, []string{"http.tls.key_file: goes with cert_file"}},
		"clients unknown":   {`http: {tls: {cert_file: a, key_file: b, client_auth: require}}`, []string{"http.tls.client_ca_file: is needed"}},
		"clients, no TLS":   {`http: {tls: {client_auth: request, client_ca_file: a}}`, []string{"http.tls.client_auth: needs a certificate"}},
		"redirect to where": {`http: {tls: {redirect_addr: "127.0.0.1:80"}}`, []string{"http.tls.redirect_addr: needs a certificate"}},
		"acme": {
			`http: {tls: {acme: {hosts: [Example.com], directory_url: "http://acme", eab_key_id: x}}}`,
			[]string{"acme.hosts: must hold names", "acme.directory_url: must be an https URL", "acme.accept_terms", "acme.eab_key: goes with"},
		},
		"grpc without":     {`grpc: {tls: {mode: server}}`, []string{"grpc.tls.cert_file: is needed"}},
		"grpc with http's": {`{http: {tls: {cert_file: a, key_file: b}}, grpc: {tls: {mode: server}}}`, nil},
		"grpc ids":         {`grpc: {tls: {mode: require, cert_file: a, key_file: b, ca_file: c, allowed_ids: ["spiffe://a/b"]}}`, []string{"grpc.tls.allowed_ids"}},
		"everything in the clear": {
			`{security: {require_mtls: true}, http: {addr: ":8080"}, grpc: {addr: ":9090"}, telemetry: {ops_addr: ":9100"}}`,
			[]string{"inference.tls.mode", "search.tls.mode", "registry.tls.mode", "http.tls.cert_file", "grpc.tls.mode", "telemetry.ops_addr"},
		},
	} {
		path := filepath.Join(t.TempDir(), "edge.yaml")
		if err := devca.Replace(path, []byte(tt.text)); err != nil {
			t.Fatal(err)
		}
		cfg := edge.DefaultConfig()
		if err := config.Load(cfg, config.Sources{File: path}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		err := cfg.Complete()
		if (err == nil) != (tt.want == nil) {
			t.Errorf("%s: %v", name, err)
		}
		for _, want := range tt.want {
			if err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v lacks %q", name, err, want)
			}
		}
	}
}

// A program that links no ACME says so, rather than to serve in the clear.
func TestACMENeedsAProgramThatHasIt(t *testing.T) {
	g := open(t, func(c *edge.Config) {
		onFreePorts(c)
		a := &c.HTTP.TLS.ACME
		a.Hosts, a.DirectoryURL, a.AcceptTerms = []string{"localhost"}, "https://127.0.0.1:1/dir", true
	})
	if _, err := g.NewPorts(); err == nil || !strings.Contains(err.Error(), "built without ACME") {
		t.Error(err)
	}
}

func TestGRPCPortInTheClearIsNotSpokenOverTLS(t *testing.T) {
	server := certify(t)
	g := open(t, func(c *edge.Config) {
		onFreePorts(c)
		c.GRPC.TLS.Mode, c.GRPC.TLS.CertFile, c.GRPC.TLS.KeyFile = tlsfiles.ModeServer, server.cert, server.key
	})
	ports, _ := g.serve()
	if err := chatOverGRPC(t, ports, g.key, insecure.NewCredentials()); err == nil {
		t.Error("spoken in the clear")
	}
	if err := chatOverGRPC(t, ports, g.key, credentials.NewTLS(&tls.Config{RootCAs: server.ca.Pool(), MinVersion: tls.VersionTLS13})); err != nil {
		t.Error(err)
	}
}
