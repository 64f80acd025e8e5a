package testkit

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// SecuredElasticsearch is a running Elasticsearch node that speaks TLS and asks
// who calls.
type SecuredElasticsearch struct {
	*ElasticsearchServer
	// CA is the PEM of the authority of the node's certificate.
	CA []byte
	// Username and Password are of a user who has manage, read and write on the
	// indexes that begin with Prefix and a hyphen, and no other right.
	Username, Password, Prefix string

	client *http.Client
}

// superuser may do everything.
const superuser, superPassword = "root", "a-long-word-for-root"

// ElasticsearchSecured is Elasticsearch with TLS and users. It can make API keys:
// it has the analysers, without which there is no index of these.
func ElasticsearchSecured(tb testing.TB) *SecuredElasticsearch {
	tb.Helper()
	cert := NewCertificate(tb)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(cert.CA)
	s := &SecuredElasticsearch{
		CA: cert.CA, Username: "poterne", Password: "a-long-word-for-poterne", Prefix: "poterne",
		client: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}},
	}
	tb.Cleanup(s.client.CloseIdleConnections)
	s.ElasticsearchServer = startElasticsearch(tb, "https", func(dir string) error {
		if err := addAnalysers(dir); err != nil {
			return err
		}
		config := filepath.Join(dir, "config")
		for name, text := range map[string]string{
			"http.crt": string(cert.Cert), "http.key": string(cert.Key),
			// What is no known hash is compared as it is.
			"users":       superuser + ":" + superPassword + "\n" + s.Username + ":" + s.Password + "\n",
			"users_roles": "superuser:" + superuser + "\nindexes:" + s.Username + "\n",
			"roles.yml":   fmt.Sprintf("indexes:\n  indices:\n  - names: ['%s-*']\n    privileges: [manage, read, write]\n", s.Prefix),
		} {
			if err := os.WriteFile(filepath.Join(config, name), []byte(text), 0o600); err != nil {
				return err
			}
		}
		return rewrite(filepath.Join(config, "elasticsearch.yml"), "xpack.security.enabled: false", `xpack.security.enabled: true
xpack.security.authc.api_key.enabled: true
xpack.security.http.ssl.enabled: true
xpack.security.http.ssl.key: http.key
xpack.security.http.ssl.certificate: http.crt`)
	}, func(url string) func(context.Context) error {
		return func(ctx context.Context) error {
			return s.health(ctx, url)
		}
	})
	return s
}

// health returns nil once the node has a master and its indexes are there.
func (s *SecuredElasticsearch) health(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/_cluster/health?wait_for_status=yellow&timeout=1s", nil)
	if err != nil {
		return err
	}
	req.SetBasicAuth(superuser, superPassword)
	resp, err := s.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("HTTP %d", resp.StatusCode)
	}
	return nil
}

// APIKey has the node make an API key that may do what the user may, and returns
// it as the client sends it.
func (s *SecuredElasticsearch) APIKey(tb testing.TB) string {
	tb.Helper()
	body := fmt.Sprintf(`{"name":"test","role_descriptors":{"indexes":{"indices":[{"names":["%s-*"],"privileges":["manage","read","write"]}]}}}`, s.Prefix)
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodPost, s.URL+"/_security/api_key", strings.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.SetBasicAuth(superuser, superPassword)
	resp, err := s.client.Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Encoded string          `json:"encoded"`
		Error   json.RawMessage `json:"error"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != http.StatusOK || answer.Encoded == "" {
		tb.Fatalf("HTTP %d, %v: %s", resp.StatusCode, err, answer.Error)
	}
	return answer.Encoded
}

// rewrite replaces a text in a file.
func rewrite(path, old, by string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.WriteFile(path, bytes.Replace(text, []byte(old), []byte(by), 1), 0o600)
}
