package process

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// script is a program that does what the lines say.
func script(t *testing.T, lines string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tool")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+lines+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAsk(t *testing.T) {
	t.Setenv("POTERNE_WORKER_KEY", "secret")
	got, err := Ask(t.Context(), script(t, `echo "asked $1 [$POTERNE_WORKER_KEY]"; echo said >&2; exit 3`), "--help")
	if err != nil || string(got.Out) != "asked --help []\n" || string(got.Err) != "said\n" || got.Code != 3 || got.Over {
		t.Errorf("got %+v, %v", got, err)
	}
	if text := got.Text(); !strings.Contains(text, "asked") || !strings.Contains(text, "said") {
		t.Errorf("text %q", text)
	}
	if _, err := Ask(t.Context(), "/nowhere/tool"); err == nil || errors.Is(err, ErrSilent) {
		t.Errorf("a program that is not there: %v", err)
	}
}

// Only so much is kept, and the program ends all the same.
func TestAskOfOneThatSaysMuch(t *testing.T) {
	got, err := Ask(t.Context(), script(t, "yes | head -c 3000000; echo end >&2"))
	if err != nil || len(got.Out) != MaxAnswer || !got.Over || got.Code != 0 || string(got.Err) != "end\n" {
		t.Errorf("kept %d of it, over %v, code %d, %v", len(got.Out), got.Over, got.Code, err)
	}
}

// gone reports whether a process has ended.
func gone(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

// A launcher's child holds the output open: it goes with the launcher, whether that
// is still there or not.
func TestAskEndsWhatALauncherStarted(t *testing.T) {
	for name, tt := range map[string]struct {
		end    string
		silent bool
	}{
		"that waits": {"wait", true},
		"that ends":  {"echo answer", false},
	} {
		t.Run(name, func(t *testing.T) {
			note := filepath.Join(t.TempDir(), "pid")
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			begun := time.Now()
			got, err := Ask(ctx, script(t, "sleep 60 &\necho $! >'"+note+"'\n"+tt.end))
			if took := time.Since(begun); took > 10*time.Second {
				t.Errorf("after %v", took)
			}
			if errors.Is(err, ErrSilent) != tt.silent || !tt.silent && (err != nil || string(got.Out) != "answer\n") {
				t.Errorf("got %+v, %v", got, err)
			}
			data, err := os.ReadFile(note)
			if err != nil {
				t.Fatal(err)
			}
			pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
			if err != nil {
				t.Fatal(err)
			}
			for n := 0; !gone(pid) && n < 1000; n++ {
				<-time.After(5 * time.Millisecond)
			}
			if !gone(pid) {
				t.Errorf("process %d is left", pid)
			}
		})
	}
}
