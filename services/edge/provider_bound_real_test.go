//go:build real

package edge_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
	"google.golang.org/grpc/codes"

	"github.com/poterne/poterne/pkg/testkit"
	"github.com/poterne/poterne/services/edge"
)

// A token that the provider has bound to a key of openid-client's, used by it: it
// is told a nonce, proves anew, and goes on with the next ones.
func TestRealDPoPTokensOfAProvider(t *testing.T) {
	p := openRealProvider(t, nil, nil)
	for _, resource := range []string{realAudience, opaqueOne} {
		models := p.url + "/v1/models"
		done := p.token(resource, func(c *testkit.OIDCCall) {
			c.DPoP = true
			c.Calls = []testkit.OIDCResource{{URL: models}, {URL: models + "?page_size=1"}, {URL: models, OtherKey: true}, {URL: models}}
		})
		if !strings.EqualFold(done.Type, "DPoP") || len(done.Answers) != 4 {
			t.Fatalf("%+v", done)
		}
		for i, want := range []int{200, 200, 401, 200} {
			if a := done.Answers[i]; a.Status != want || a.Proof == "" {
				t.Errorf("%s: call %d: %d, want %d: %s", resource, i, a.Status, want, a.Challenge)
			}
		}
		if c := done.Answers[2].Challenge; !strings.Contains(c, `error="invalid_token"`) {
			t.Errorf("by another key: %s", c)
		}
		// Who has overheard it all has a token and proofs that were used.
		used := done.Answers[3].Proof
		for name, headers := range map[string][]string{
			"as bearer":          {"Authorization", "Bearer " + done.Token},
			"as bearer, a proof": {"Authorization", "Bearer " + done.Token, "DPoP", used},
			"no proof":           {"Authorization", "DPoP " + done.Token},
			"a proof again":      {"Authorization", "DPoP " + done.Token, "DPoP", used},
			"an older proof":     {"Authorization", "DPoP " + done.Token, "DPoP", done.Answers[0].Proof},
		} {
			if a := p.do("GET", "/v1/models", "", headers...); a.status != 401 {
				t.Errorf("%s: %s: %d %s", resource, name, a.status, a.text)
			}
		}
		thief := &holder{t: t, key: newKey(t, "x"), token: done.Token, nonce: done.Answers[3].Nonce}
		if thief.nonce == "" {
			thief.nonce = p.do("GET", "/v1/models", "", "Authorization", "DPoP "+done.Token, "DPoP", thief.proof("GET", models, nil)).header.Get("Dpop-Nonce")
		}
		a := p.do("GET", "/v1/models", "", "Authorization", "DPoP "+done.Token, "DPoP", thief.proof("GET", models, nil))
		if a.status != 401 || !strings.Contains(a.header.Get("Www-Authenticate"), `error="invalid_token"`) {
			t.Errorf("%s: stolen, proven by the thief's key: %d %v", resource, a.status, a.header)
		}
	}
}

// The edge is the authorisation server and openid-client its client, which finds
// everything by the edge's metadata (RFC 8414).
func TestRealClientOfTheEdgesOwnTokens(t *testing.T) {
	g := build(t, func(c *edge.Config) {
		onFreePorts(c)
		c.HTTP.Addr = testkit.Loopback(testkit.FreePorts(t, 1)[0]) // the issuer is named by it
		c.Security.Limits.Address.FailureCost = 1
	})
	_, _, conn := g.runAll()
	server := g.do("GET", "/.well-known/oauth-authorization-server", "", "Authorization", "")
	issuer, _ := server.at("issuer").(string)
	id, secret := g.newClient("developer")
	for _, basic := range []bool{true, false} {
		done := testkit.OIDCClient(t, testkit.OIDCCall{
			Server: issuer, Algorithm: "oauth2", ClientID: id, Secret: secret, Basic: basic, DPoP: true, Parameters: map[string]string{"scope": "model:*"},
			Calls: []testkit.OIDCResource{{URL: g.url + "/v1/models"}, {URL: g.url + "/v1/models", OtherKey: true}, {URL: g.url + "/v1/collections"}},
		})
		if done.Type != "dpop" || done.Scope != "model:*" || len(done.Answers) != 3 {
			t.Fatalf("%+v", done)
		}
		for i, want := range []int{200, 401, 403} {
			if a := done.Answers[i]; a.Status != want {
				t.Errorf("call %d: %d, want %d: %s", i, a.Status, want, a.Challenge)
			}
		}
		if code, _, _ := rpc(t, conn, "authorization", "Bearer "+done.Token); code != codes.Unauthenticated {
			t.Errorf("as bearer over gRPC: %v", code)
		}
	}
	// And golang.org/x/oauth2, without a binding.
	config := clientcredentials.Config{ClientID: id, ClientSecret: secret, TokenURL: issuer + "/oauth2/token", Scopes: []string{"model:list"}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.url+"/v1/models", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := config.Client(t.Context()).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("x/oauth2: status %d", resp.StatusCode)
	}
}

// The provider binds tokens to the certificate that golang.org/x/oauth2 shows it, and
// the edge accepts them on connections with that certificate alone.
func TestRealCertificateBoundTokensOfAProvider(t *testing.T) {
	own := testkit.NewCertificate(t)
	port := testkit.FreePorts(t, 1)[0]
	p := openRealProvider(t, func(o *testkit.OIDCProviderOptions) {
		o.TLS = &testkit.OIDCTLS{Port: port, Certificate: string(own.Cert), Key: string(own.Key)}
		o.Clients[0]["tls_client_certificate_bound_access_tokens"] = true
	}, nil)
	ana, anas := selfSigned(t)
	ben, _ := selfSigned(t)
	roots, clients := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM(own.CA)
	for _, c := range []tls.Certificate{ana, ben} {
		clients.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}))
	}
	server := httptest.NewUnstartedServer(p.Handler())
	server.TLS = &tls.Config{ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: clients, MinVersion: tls.VersionTLS13}
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	roots.AddCert(server.Certificate())
	with := func(certs ...tls.Certificate) *http.Client {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: certs, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true}
		t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Transport: transport}
	}
	models := func(client *http.Client, token string) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/v1/models", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.ProtoMajor != 2 {
			t.Errorf("not HTTP/2: %s", resp.Proto)
		}
		return resp.StatusCode
	}
	for _, resource := range []string{realAudience, opaqueOne} {
		config := clientcredentials.Config{
			ClientID: realService, ClientSecret: realSecret, TokenURL: "https://" + testkit.Loopback(port) + "/token", Scopes: []string{"read"},
			AuthStyle: oauth2.AuthStyleInParams, EndpointParams: url.Values{"resource": {resource}},
		}
		token, err := config.Token(context.WithValue(t.Context(), oauth2.HTTPClient, with(ana)))
		if err != nil {
			t.Fatal(err)
		}
		if resource == realAudience && at(payload(t, token.AccessToken), "cnf", "x5t#S256") != anas {
			t.Fatalf("it says %v", payload(t, token.AccessToken))
		}
		same, another, none := with(ana), with(ben), with()
		for _, tt := range []struct {
			name   string
			client *http.Client
			want   int
		}{
			{"the same certificate", same, 200},
			{"another certificate", another, 401},
			{"no certificate", none, 401},
			// The connections are there already, and the token was found good on one.
			{"the same certificate, the connection again", same, 200},
			{"another certificate, the connection again", another, 401},
			{"no certificate, the connection again", none, 401},
		} {
			if got := models(tt.client, token.AccessToken); got != tt.want {
				t.Errorf("%s: %s: status %d, want %d", resource, tt.name, got, tt.want)
			}
		}
		if a := p.do("GET", "/v1/models", "", "Authorization", "Bearer "+token.AccessToken, "Client-Cert", handedOn(ana)); a.status != 401 {
			t.Errorf("%s: from nobody's proxy in Client-Cert: %d", resource, a.status)
		}
	}
}
