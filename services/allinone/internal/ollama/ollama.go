// Package ollama asks an Ollama on this machine which models it has. Used where
// no engine of ours has a build.
package ollama

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/poterne/poterne/pkg/plainhttp"
)

const (
	defaultHost = "127.0.0.1:11434"
	timeout     = 3 * time.Second
	maxAnswer   = 1 << 20
	maxModels   = 16
)

// Model is a model that Ollama has.
type Model struct {
	// Name is Ollama's, for example llama3.2:1b.
	Name string
	// Plain is Name in the form that the registry takes.
	Plain string
	// Embeds says that the model embeds and does not chat.
	Embeds bool
}

// BaseURL is where Ollama's OpenAI-compatible API is; host is OLLAMA_HOST.
func BaseURL(host string) string {
	if host == "" {
		host = defaultHost
	}
	if !strings.Contains(host, "://") {
		host = "http://" + host
	}
	scheme, rest, _ := strings.Cut(host, "://")
	rest = strings.TrimSuffix(rest, "/")
	if _, _, err := net.SplitHostPort(rest); err != nil {
		rest = net.JoinHostPort(rest, "11434")
	}
	// What a server listens on is no address to call.
	rest = strings.Replace(rest, "0.0.0.0:", "127.0.0.1:", 1)
	return scheme + "://" + rest + "/v1"
}

// Models returns the models of the Ollama at base, as BaseURL gives it.
func Models(ctx context.Context, base string) ([]Model, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/models", http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("ollama: %w", err)
	}
	resp, err := (&http.Client{Transport: plainhttp.Transport(nil)}).Do(req)
	if err != nil {
		return nil, fmt.Errorf("ollama does not answer (is `ollama serve` running?): %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ollama: HTTP %d", resp.StatusCode)
	}
	var list struct {
		Data []struct {
			ID string `json:"id"`
		} `json:"data"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&list); err != nil {
		return nil, fmt.Errorf("ollama: %w", err)
	}
	var out []Model
	for _, m := range list.Data {
		plain := plainName(m.ID)
		if plain == "" || len(out) == maxModels {
			continue
		}
		out = append(out, Model{Name: m.ID, Plain: plain, Embeds: strings.Contains(m.ID, "embed")})
	}
	return out, nil
}

// plainName keeps what the registry allows: lower-case letters, digits and
// `._-`. Ollama's default tag says nothing and is left out.
func plainName(name string) string {
	name = strings.TrimSuffix(strings.ToLower(name), ":latest")
	name = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '.', r == '_', r == '-':
			return r
		}
		return '-'
	}, name)
	return strings.TrimLeft(name, "._-")
}
