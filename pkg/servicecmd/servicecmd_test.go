package servicecmd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/servicecmd"
)

type settings struct {
	Server struct {
		Addr string `yaml:"addr"`
		Max  int    `yaml:"max"`
	} `yaml:"server"`
	Key config.Secret `yaml:"key"`
}

func (s *settings) Complete() error {
	var p config.Problems
	p.Check(s.Server.Addr != "", "server.addr", "must be given")
	p.Check(s.Server.Max > 0, "server.max", "must be positive, got %d", s.Server.Max)
	return p.Err()
}

type outcome struct {
	code           int
	stdout, stderr string
	ran            bool
}

func execute(t *testing.T, run func(context.Context, *settings) error, signals chan os.Signal, env []string, args ...string) outcome {
	t.Helper()
	var out, err bytes.Buffer
	o := outcome{}
	var ran atomic.Bool // a run that was abandoned may still set it
	c := servicecmd.Command[settings]{
		Name: "poterne-x", Version: "v1.2.3", NewConfig: func() *settings { return new(settings) },
		Run: func(ctx context.Context, cfg *settings) error {
			ran.Store(true)
			return run(ctx, cfg)
		},
	}
	o.code = c.Execute(t.Context(), servicecmd.Process{Args: args, Env: env, Stdout: &out, Stderr: &err, Signals: signals})
	o.stdout, o.stderr, o.ran = out.String(), err.String(), ran.Load()
	return o
}

func ok(context.Context, *settings) error { return nil }

func TestUsage(t *testing.T) {
	good := []string{"POTERNE_SERVER_ADDR=:1", "POTERNE_SERVER_MAX=1", "POTERNE_KEY=hunter2"}
	for name, c := range map[string]struct {
		args   []string
		env    []string
		code   int
		stdout string
		stderr string
		ran    bool
	}{
		"help":       {args: []string{"--help"}, code: 0, stdout: "usage: poterne-x"},
		"version":    {args: []string{"--version"}, code: 0, stdout: "poterne-x v1.2.3\n"},
		"print":      {args: []string{"--print-config", "--set", "server.max=7"}, env: good, code: 0, stdout: "  max: 7\n"},
		"flag":       {args: []string{"--nope"}, code: 2, stderr: "not defined"},
		"set":        {args: []string{"--set", "x"}, code: 2, stderr: "section.key=value"},
		"argument":   {args: []string{"serve"}, code: 2, stderr: `unexpected argument "serve"`},
		"incomplete": {code: 2, stderr: "the configuration has 2 problems"},
		"runs":       {env: good, code: 0, ran: true},
	} {
		t.Run(name, func(t *testing.T) {
			o := execute(t, ok, nil, c.env, c.args...)
			if o.code != c.code || !strings.Contains(o.stdout, c.stdout) || !strings.Contains(o.stderr, c.stderr) || o.ran != c.ran {
				t.Fatalf("%+v", o)
			}
			if strings.Contains(o.stdout+o.stderr, "hunter2") {
				t.Fatalf("a secret was printed: %+v", o)
			}
		})
	}
}

func TestEveryProblemOnceAndNothingStarted(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte("server: {max: lots, prot: 1}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := execute(t, ok, nil, nil, "--config", file)
	want := fmt.Sprintf(`poterne-x: the configuration has 3 problems:
  %s:1:15: server.max: must be a whole number, got "lots"
  %s:1:21: server.prot: unknown key
  server.addr: must be given
`, file, file)
	if o.code != servicecmd.ExitUsage || o.stderr != want || o.ran {
		t.Fatalf("%+v\nwant %s", o, want)
	}
}

func TestOutcomes(t *testing.T) {
	env := []string{"POTERNE_SERVER_ADDR=:1", "POTERNE_SERVER_MAX=1"}
	o := execute(t, func(context.Context, *settings) error { return errors.New("port taken") }, nil, env)
	if o.code != servicecmd.ExitFailed || o.stderr != "poterne-x: port taken\n" {
		t.Fatalf("%+v", o)
	}
	o = execute(t, func(context.Context, *settings) error {
		var p config.Problems
		p.Add("server.addr", "cannot be resolved")
		return fmt.Errorf("new: %w", p.Err())
	}, nil, env)
	if o.code != servicecmd.ExitUsage {
		t.Fatalf("%+v", o)
	}
}

func TestSignals(t *testing.T) {
	env := []string{"POTERNE_SERVER_ADDR=:1", "POTERNE_SERVER_MAX=1"}
	signals := make(chan os.Signal, 2)
	signals <- syscall.SIGTERM
	o := execute(t, func(ctx context.Context, _ *settings) error { <-ctx.Done(); return context.Cause(ctx) }, signals, env)
	if o.code != servicecmd.ExitDone {
		t.Fatalf("%+v", o)
	}
	signals <- syscall.SIGTERM
	signals <- syscall.SIGINT
	release := make(chan struct{})
	defer close(release)
	o = execute(t, func(context.Context, *settings) error { <-release; return nil }, signals, env)
	if o.code != servicecmd.ExitFailed || !strings.Contains(o.stderr, "second signal") {
		t.Fatalf("%+v", o)
	}
}
