// Command poterne runs the whole platform on one machine (`poterne up`) and is
// the client for a running one.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/poterne/poterne/services/allinone/internal/cli"
)

// version is set by the linker.
var version = "dev"

func main() {
	os.Exit(run())
}

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	return cli.Main(ctx, version, os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, os.Getenv)
}
