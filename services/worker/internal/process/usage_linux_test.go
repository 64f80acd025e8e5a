package process

import (
	"log/slog"
	"path/filepath"
	"testing"
	"time"
)

func TestUsages(t *testing.T) {
	ledger, err := OpenLedger(filepath.Join(t.TempDir(), "engines"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ledger.Close() }()
	p, err := Start(t.Context(), Command{Path: "/bin/sh", Args: []string{"-c", "sleep 60 & sleep 60"}}, ledger, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop(t.Context(), time.Second)
	for begun := time.Now(); ; {
		u := Usages([]int{p.PID(), 1 << 30})
		got, known := u[p.PID()]
		// The shell and its two children.
		if len(u) == 1 && known && len(got.PIDs) >= 3 && got.Anonymous > 0 && got.Files > 0 && got.Total() == got.Anonymous+got.Files {
			break
		}
		if time.Since(begun) > 10*time.Second {
			t.Fatalf("got %+v", u)
		}
	}
	if got := Usages(nil); len(got) != 0 {
		t.Errorf("of nobody: %v", got)
	}
}
