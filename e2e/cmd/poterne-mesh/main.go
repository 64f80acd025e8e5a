// Command poterne-mesh runs the platform as a deployment of separate processes
// on this machine, for people to look at and to break. `make mesh` builds and
// starts it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/poterne/poterne/e2e/mesh"
)

// version is set by the linker.
var version = "dev"

func main() { os.Exit(run()) }

func run() int {
	var sim, showVersion bool
	var stateDir string
	fs := flag.NewFlagSet("poterne-mesh up", flag.ContinueOnError)
	fs.BoolVar(&sim, "sim", false, "simulated engines instead of real models")
	fs.StringVar(&stateDir, "state-dir", ".mesh", "where data, logs and pid files lie")
	fs.BoolVar(&showVersion, "version", false, "print the version and exit")
	args := os.Args[1:]
	if len(args) > 0 && args[0] == "up" {
		args = args[1:]
	}
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	if showVersion {
		fmt.Println("poterne-mesh", version)
		return 0
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := up(ctx, stateDir, sim); err != nil {
		fmt.Fprintln(os.Stderr, "poterne-mesh:", err)
		return 1
	}
	return 0
}

func up(ctx context.Context, stateDir string, sim bool) error {
	parts, err := mesh.PartsFromEnv()
	if err != nil {
		return err
	}
	state, err1 := filepath.Abs(stateDir)
	root, err2 := os.Getwd()
	self, err3 := os.Executable()
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	if err := os.MkdirAll(state, 0o755); err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(state, "mesh.lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("%s: another mesh runs on this directory (make down stops it)", state)
	}
	if err := mesh.FixedPorts().Free(ctx); err != nil {
		return err
	}
	pidFile := filepath.Join(state, "mesh.pid")
	if err := os.WriteFile(pidFile, fmt.Appendf(nil, "%d\n%s\n", os.Getpid(), self), 0o644); err != nil {
		return err
	}
	defer os.Remove(pidFile)
	engine := mesh.EngineReal
	if sim {
		engine = mesh.EngineSim
	}
	m, err := mesh.Up(ctx, mesh.Options{
		Root: root, StateDir: state, Parts: parts, Ports: mesh.FixedPorts(), Engine: engine,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		return err
	}
	printUse(m)
	<-ctx.Done()
	fmt.Println("\nstopping …")
	return m.Down()
}

func printUse(m *mesh.Mesh) {
	fmt.Printf(`
The deployment serves. REST is at %[1]s, gRPC at %[2]s, both through NGINX.

  export POTERNE_URL=%[1]s POTERNE_API_KEY=$(cat %[3]s)
  curl -s $POTERNE_URL/v1/chat/completions -H "Authorization: Bearer $POTERNE_API_KEY" -H 'Content-Type: application/json' -d '{"model":"%[4]s","messages":[{"role":"user","content":"Say hello."}]}'
  bin/poterne workers list

Its processes, to kill one and see what happens:

`, m.URL(), m.GRPCAddr(), m.AdminKeyFile(), m.ChatModel())
	for _, p := range m.Processes() {
		fmt.Printf("  %-12s %7d  %s\n", p.Name(), p.Pid(), p.LogPath())
	}
	fmt.Println("\nCtrl-C stops everything.")
}
