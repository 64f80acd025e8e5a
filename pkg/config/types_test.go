package config_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/config"
)

func TestBytes(t *testing.T) {
	for text, want := range map[string]config.Bytes{
		"0": 0, "17": 17, "1kB": 1000, "1 KiB": 1024, "4mib": 4 << 20, "2GB": 2e9, "1TiB": 1 << 40, "5B": 5,
	} {
		var b config.Bytes
		if err := b.UnmarshalText([]byte(text)); err != nil || b != want {
			t.Errorf("%q = %d, %v; want %d", text, b, err, want)
		}
		var again config.Bytes
		out, _ := b.MarshalText()
		if err := again.UnmarshalText(out); err != nil || again != b {
			t.Errorf("%q is written %q, which reads as %d, %v", text, out, again, err)
		}
	}
	for _, text := range []string{"", "-1", "1.5MiB", "MiB", "1XB", "9999999TiB", "99999999999999999999"} {
		var b config.Bytes
		if err := b.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was read as %d", text, b)
		}
	}
}

func TestBytesInMiB(t *testing.T) {
	for b, want := range map[config.Bytes]string{0: "0.0 MiB", 1 << 20: "1.0 MiB", 1<<20 + 1<<19: "1.5 MiB", 80 * config.GiB: "81920.0 MiB", -config.MiB: "-1.0 MiB"} {
		if got := b.InMiB(); got != want {
			t.Errorf("%d is %q, want %q", int64(b), got, want)
		}
	}
}

func TestSecretNeverShows(t *testing.T) {
	const secret = config.Secret("hunter2")
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "s", secret, "in", struct{ S config.Secret }{secret})
	asJSON, err := json.Marshal(map[string]any{"s": secret})
	if err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{
		fmt.Sprint(secret), fmt.Sprintf("%v %+v %#v %s %q %x %X %d", secret, secret, secret, secret, secret, secret, secret, secret),
		fmt.Sprintf("%v %+v %#v", []config.Secret{secret}, struct{ S config.Secret }{secret}, &struct{ S config.Secret }{secret}),
		fmt.Errorf("failed: %v", secret).Error(), log.String(), string(asJSON),
	} {
		if strings.Contains(out, "hunter2") || strings.Contains(out, "68756e74657232") || !strings.Contains(out, config.Mask) {
			t.Errorf("shown as %q", out)
		}
	}
	if secret.Reveal() != "hunter2" || config.Secret("").String() != "" {
		t.Error("Reveal must give the secret, and an unset one must show as unset")
	}
}
