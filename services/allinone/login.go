package allinone

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/services/edge"
)

// maxSecretBytes bounds the file that a client's secret is in.
const maxSecretBytes = 4 << 10

// Login says where people log in to the web pages; the zero value lets nobody.
type Login struct {
	// Issuer is an OpenID provider's, and ClientID what it knows this platform as.
	Issuer, ClientID string
	// SecretFile holds what is shown it besides; empty: nothing is.
	SecretFile string
	// URL is where browsers reach REST, scheme://host[:port]; empty: where it listens.
	URL string
}

// configure fills the edge's section login. Claims are read as those of an issuer of
// tokens are.
func (l Login) configure(to *edge.Config, c Config) error {
	if l == (Login{}) {
		return nil
	}
	out := &to.Security.Login
	out.Provider.Issuer, out.Provider.ClientID, out.Provider.Tenants = l.Issuer, l.ClientID, []string{edge.AnyTenant}
	if out.PublicURL = l.URL; l.URL == "" {
		out.PublicURL = "http://" + c.HTTPAddr
		if c.TLSCert != "" {
			out.PublicURL = "https://" + c.HTTPAddr
		}
	}
	out.Complete()
	if l.SecretFile == "" {
		return nil
	}
	f, err := os.Open(l.SecretFile)
	if err != nil {
		return fmt.Errorf("the client's secret: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSecretBytes))
	if err != nil {
		return fmt.Errorf("the client's secret: %w", err)
	}
	out.Provider.ClientSecret = config.Secret(strings.TrimSpace(string(text)))
	return nil
}

func (c Config) validateLogin(p *config.Problems) {
	to := edge.DefaultConfig()
	if err := c.Login.configure(to, c); err != nil {
		p.Add("--login-client-secret-file", "%v", err)
		return
	}
	var found config.Problems
	to.Security.Login.Validate(&found, "login")
	var all config.Errors
	_ = errors.As(found.Err(), &all)
	flags := map[string]string{"login.client_id": "--login-client-id", "login.public_url": "--login-url"}
	for _, problem := range all {
		flag, ok := flags[problem.Path]
		if !ok {
			flag = "--login-issuer"
		}
		p.Add(flag, "%s", problem.Message)
	}
}
