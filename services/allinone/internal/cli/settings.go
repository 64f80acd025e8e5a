package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/spf13/pflag"
)

const defaultURL = "http://127.0.0.1:8080"

// settings are the flags that every verb knows.
type settings struct {
	url, apiKey, context, output string
	timeout                      time.Duration
}

func (s *settings) bind(f *pflag.FlagSet) {
	f.StringVar(&s.url, "url", "", "the gateway, for example "+defaultURL+" (POTERNE_URL)")
	f.StringVar(&s.apiKey, "api-key", "", "the API key; the environment keeps it out of the process list (POTERNE_API_KEY)")
	f.StringVar(&s.context, "context", "", "the context of the configuration file to use")
	f.StringVarP(&s.output, "output", "o", "table", "table, json or yaml")
	f.DurationVar(&s.timeout, "timeout", 2*time.Minute, "how long one call may take")
}

// contexts is the client's configuration file.
type contexts struct {
	Current  string                     `yaml:"current"`
	Contexts map[string]clientReference `yaml:"contexts"`
}

// clientReference is one gateway and how to speak to it.
type clientReference struct {
	URL        string `yaml:"url"`
	APIKey     string `yaml:"api_key,omitempty"`
	APIKeyFile string `yaml:"api_key_file,omitempty"`
}

func (a *app) contextsPath() (string, error) {
	if p := a.getenv("POTERNE_CONTEXTS"); p != "" {
		return p, nil
	}
	dir := a.getenv("XDG_CONFIG_HOME")
	if dir == "" {
		home := a.getenv("HOME")
		if home == "" {
			return "", usagef("neither POTERNE_CONTEXTS, XDG_CONFIG_HOME nor HOME is set")
		}
		dir = filepath.Join(home, ".config")
	}
	return filepath.Join(dir, "poterne", "contexts.yaml"), nil
}

// loadContexts reads the file; a missing one is empty.
func (a *app) loadContexts() (contexts, error) {
	var c contexts
	path, err := a.contextsPath()
	if err != nil {
		return c, err
	}
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("read contexts: %w", err)
	}
	if err := yaml.NewDecoder(bytes.NewReader(raw), yaml.DisallowUnknownField()).Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return c, usagef("%s: %w", path, err)
	}
	return c, nil
}

// saveContexts replaces the file in one step, readable by its owner only.
func (a *app) saveContexts(c contexts) error {
	path, err := a.contextsPath()
	if err != nil {
		return err
	}
	raw, err := yaml.Marshal(c)
	if err != nil {
		return fmt.Errorf("write contexts: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("write contexts: %w", err)
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, raw, 0o600); err != nil {
		return fmt.Errorf("write contexts: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("write contexts: %w", err)
	}
	return nil
}

// client is the gateway that flags, environment and contexts name, in this
// order of weight.
func (a *app) client() (*client, error) {
	ref, err := a.chosenContext()
	if err != nil {
		return nil, err
	}
	url := firstOf(a.settings.url, a.getenv("POTERNE_URL"), ref.URL, defaultURL)
	key := firstOf(a.settings.apiKey, a.getenv("POTERNE_API_KEY"), ref.APIKey)
	if key == "" && ref.APIKeyFile != "" {
		raw, err := os.ReadFile(ref.APIKeyFile)
		if err != nil {
			return nil, usagef("read the context's API key: %w", err)
		}
		key = string(bytes.TrimSpace(raw))
	}
	if key == "" {
		return nil, usagef("no API key: set POTERNE_API_KEY, give --api-key, or make a context (poterne context set)")
	}
	return newClient(url, key, a.settings.timeout)
}

func (a *app) chosenContext() (clientReference, error) {
	file, err := a.loadContexts()
	if err != nil {
		return clientReference{}, err
	}
	name := firstOf(a.settings.context, a.getenv("POTERNE_CONTEXT"), file.Current)
	if name == "" {
		return clientReference{}, nil
	}
	ref, ok := file.Contexts[name]
	if !ok {
		return clientReference{}, usagef("there is no context %q (see poterne context list)", name)
	}
	return ref, nil
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
