package config_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/config"
)

func TestSecretURL(t *testing.T) {
	for in, want := range map[config.SecretURL]string{
		"": "", "sqlite:///var/lib/a.db": "sqlite:///var/lib/a.db", "sqlite:a/b.db": "sqlite:a/b.db",
		"postgres://u:hunter2@db:5432/x?sslmode=disable": "postgres://u:********@db:5432/x?sslmode=disable",
		"postgres://u@db/x":                "postgres://u@db/x",
		"postgres://db/x?password=hunter2": "postgres://db/x?password=********",
		"postgres://u:hun%ter2@db/x":       "********",
		"host=db password=hunter2":         "********",
		"postgres:u:hunter2@db":            "********",
	} {
		if got := in.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if text, err := in.MarshalText(); err != nil || string(text) != want {
			t.Errorf("as text: %s, %v", text, err)
		}
		for _, verb := range []string{"%v", "%s", "%q", "%#v", "%+v", "%x", "%d"} {
			if got := fmt.Sprintf(verb, in); strings.Contains(got, "hunter2") || strings.Contains(got, fmt.Sprintf("%x", "hunter2")) {
				t.Errorf("%s shows %s", verb, got)
			}
		}
		if got := in.LogValue().String(); got != want {
			t.Errorf("in logs: %s", got)
		}
	}
	const dsn = config.SecretURL("postgres://u:hunter2@db/x")
	if dsn.Reveal() != string(dsn) {
		t.Error("Reveal does not return it")
	}
	type part struct {
		DSN config.SecretURL `yaml:"dsn"`
	}
	var cfg part
	if err := config.Load(&cfg, config.Sources{Env: []string{"POTERNE_DSN=" + dsn.Reveal()}}); err != nil || cfg.DSN != dsn {
		t.Errorf("loaded %v, %v", cfg.DSN, err)
	}
}
