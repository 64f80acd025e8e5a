package allinone

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/poterne/poterne/services/edge"
)

// The key is made once, for its owner only; one that is there is never replaced.
func TestMasterKeysAreMadeOnce(t *testing.T) {
	d := &dataDir{path: t.TempDir()}
	first, err := d.masterKey()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(d.path, "webhooks.key")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if again, err := d.masterKey(); err != nil || again != first || !strings.HasPrefix(again.Reveal(), "local:") {
		t.Errorf("the next start has another key: %v", err)
	}
	if other, err := (&dataDir{path: t.TempDir()}).masterKey(); err != nil || other == first {
		t.Errorf("two data directories have one key: %v", err)
	}
	if files, err := os.ReadDir(d.path); err != nil || len(files) != 1 {
		t.Errorf("left are %v, %v", files, err)
	}
	cfg := edge.DefaultConfig()
	cfg.Security.Webhooks.Key = first
	if err := cfg.Complete(); err != nil {
		t.Errorf("the edge does not take it: %v", err)
	}
	if err := os.WriteFile(path, []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	kept, err := d.masterKey()
	if cfg.Security.Webhooks.Key = kept; err != nil || kept.Reveal() != "damaged" || cfg.Complete() == nil {
		t.Errorf("a damaged key is taken, or replaced: %v", err)
	}
}

// Webhooks of budgets work without any setting, and their secrets outlive a restart.
func TestWebhooksOfBudgetsNeedNoSetting(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir)
	r.want("PUT", "/v1/admin/webhooks/ops", `{"webhook":{"url":"https://hooks.invalid/poterne"}}`, "whsec_")
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r = start(t, dir)
	r.want("GET", "/v1/admin/webhooks/ops", "", "hooks.invalid")
	r.want("POST", "/v1/admin/webhooks/ops:test", "{}", "name cannot be resolved") // and not: the secret cannot be read
	if status, answer := r.call("PUT", "/v1/admin/webhooks/inside", `{"webhook":{"url":"https://127.0.0.1/"}}`); status != 400 {
		t.Errorf("an address inside is taken: %d %s", status, answer)
	}
}
